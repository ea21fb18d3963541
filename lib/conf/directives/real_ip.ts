import { HSL, loc, type Module, type Setter } from '../directive.js';
import { parseCidr, resolveHost } from '../inet.js';
import { DUPLICATE, flag } from '../kinds.js';

/** `set_real_ip_from` and its like: the address of the client behind proxies. */

const from: Setter = (cf, [text = ''], row) => {
  const list = cf.list<string>(row);
  if (text === 'unix:') {
    list.push(text);
    return;
  }
  const cidr = parseCidr(text);
  if (cidr !== undefined) {
    if (cidr.meaningless) cf.warn(`low address bits of ${text} are meaningless`);
    list.push(cidr.text);
    return;
  }
  const found = resolveHost(text);
  if (found.length === 0) throw cf.error(`host not found in set_real_ip_from "${text}"`);
  for (const { family, host } of found) list.push(`${host}/${family === 'inet' ? 32 : 128}`);
};

const header: Setter = (cf, [text = ''], row) => {
  const values = cf.values(row.level);
  if (row.field in values) return DUPLICATE;
  values[row.field] = text === 'proxy_protocol' ? text : text.toLowerCase();
};

export const realIpModule: Module = {
  name: 'http_realip',
  group: 'real_ip',
  used: (conf) => conf['set_real_ip_from'] !== undefined,
  rows: [
    loc('set_real_ip_from', HSL, '1', from),
    loc('real_ip_header', HSL, '1', header, { init: 'x-real-ip' }),
    loc('real_ip_recursive', HSL, 'flag', flag(), { init: false }),
  ],
};
