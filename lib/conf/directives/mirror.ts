import { HSL, loc, type Module, type Setter } from '../directive.js';
import { DUPLICATE, flag } from '../kinds.js';

/** `mirror`: copies of requests to other locations. */

const mirror: Setter = (cf, [uri = ''], row) => {
  const values = cf.values(row.level);
  const list = values[row.field] as string[] | 'off' | undefined;
  if (uri === 'off') {
    if (list !== undefined) return DUPLICATE;
    values[row.field] = 'off';
    return;
  }
  if (list === 'off') return DUPLICATE;
  cf.list<string>(row).push(uri);
};

export const mirrorModule: Module = {
  name: 'http_mirror',
  group: 'mirror',
  used: (conf) => Array.isArray(conf['mirror_uris']),
  rows: [
    loc('mirror', HSL, '1', mirror, { field: 'mirror_uris' }),
    loc('mirror_request_body', HSL, 'flag', flag(), { init: true }),
  ],
};
