import {
  HSL,
  LIMIT_EXCEPT,
  LOCATION,
  SERVER,
  later,
  loc,
  type Module,
  type Setter,
} from '../directive.js';
import { parseCidr } from '../inet.js';
import { DUPLICATE, complex, flag, oneOf } from '../kinds.js';
import { parseNumber } from '../numbers.js';
import type { Complex } from '../plan.js';

/** Small modules about which file answers and who may have it. */

const index: Setter = (cf, args, row) => {
  const list = cf.list<Complex>(row);
  args.forEach((text, i) => {
    if (text.startsWith('/') && i !== args.length - 1) {
      cf.warn('only the last index in "index" directive should be absolute');
    }
    if (text === '') throw cf.error('index "" in "index" directive is invalid');
    list.push(cf.complex(text));
  });
};

const tryFiles: Setter = (cf, args, row) => {
  const values = cf.values(row.level);
  if (row.field in values) return DUPLICATE;
  const files = args.slice(0, -1).map((text) => cf.complex(text));
  const last = args.at(-1) as string;
  if (last.startsWith('=')) {
    const code = parseNumber(last.slice(1));
    if (code === undefined || code > 999) throw cf.error(`invalid code "${last}"`);
    values[row.field] = { files, code };
    return;
  }
  values[row.field] = { files, target: cf.complex(last) };
};

function access(allow: boolean): Setter {
  return (cf, [text = ''], row) => {
    const rules = cf.list<{ allow: boolean; cidr: string }>(row);
    if (text === 'all' || text === 'unix:') {
      rules.push({ allow, cidr: text });
      return;
    }
    const cidr = parseCidr(text);
    if (cidr === undefined) throw cf.error(`invalid parameter "${text}"`);
    if (cidr.meaningless) cf.warn(`low address bits of ${text} are meaningless`);
    rules.push({ allow, cidr: cidr.text });
  };
}

const userFile: Setter = (cf, [text = ''], row) => {
  const values = cf.values(row.level);
  if (row.field in values) return DUPLICATE;
  values[row.field] = cf.complex(text.startsWith('$') ? text : cf.confName(text));
};

const WHERE = HSL | LIMIT_EXCEPT;

export const filesModule: Module = {
  name: 'http_files',
  rows: [
    loc('index', HSL, '1+', index, { init: ['index.html'] }),
    loc('try_files', SERVER | LOCATION, '2+', tryFiles, { inherit: false }),
    loc('allow', WHERE, '1', access(true), { field: 'access', init: [] }),
    loc('deny', WHERE, '1', access(false), { field: 'access', init: [] }),
    loc('auth_basic', WHERE, '1', complex()),
    loc('auth_basic_user_file', WHERE, '1', userFile),
    loc('autoindex', HSL, 'flag', flag(), { init: false }),
    loc('autoindex_exact_size', HSL, 'flag', flag(), { init: true }),
    loc('autoindex_localtime', HSL, 'flag', flag(), { init: false }),
    loc('autoindex_format', HSL, '1', oneOf('html', 'json', 'jsonp', 'xml'), { init: 'html' }),
    loc('empty_gif', LOCATION, '0', (cf) => void cf.content('empty_gif'), { hidden: true }),
    loc('stub_status', SERVER | LOCATION, '01', (cf) => void cf.content('stub_status'), {
      hidden: true,
    }),
    ...later(LOCATION, 'random_index flv mp4'),
  ],
};
