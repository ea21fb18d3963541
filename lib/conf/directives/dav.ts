import { HSL, loc, type Module, type Setter } from '../directive.js';
import { DUPLICATE, flag, num } from '../kinds.js';

/** WebDAV's methods on files: `dav_methods` and what goes with it. */

const METHODS = ['PUT', 'DELETE', 'MKCOL', 'COPY', 'MOVE'];

const methods: Setter = (cf, args, row) => {
  const values = cf.values(row.level);
  const list = (values[row.field] ??= []) as string[];
  for (const text of args) {
    const method = text.toUpperCase();
    if (method === 'OFF') continue;
    if (!METHODS.includes(method)) throw cf.error(`invalid value "${text}"`);
    if (list.includes(method)) cf.warn(`duplicate value "${text}"`);
    else list.push(method);
  }
};

const SHIFT: Readonly<Record<string, number>> = { user: 6, group: 3, all: 0 };

/** `group:rw all:r` → mode bits; the user may always read and write. */
const access: Setter = (cf, args, row) => {
  const values = cf.values(row.level);
  if (row.field in values) return DUPLICATE;
  let mode = 0o600;
  for (const text of args) {
    const [who = '', right = ''] = text.split(':', 2);
    const shift = SHIFT[who];
    if (shift === undefined || (right !== 'rw' && right !== 'r'))
      throw cf.error(`invalid value "${text}"`);
    mode |= (right === 'rw' ? 6 : 4) << shift;
  }
  values[row.field] = mode;
};

export const davModule: Module = {
  name: 'http_dav',
  group: 'dav',
  used: (conf) => ((conf['dav_methods'] as string[] | undefined) ?? []).length > 0,
  rows: [
    loc('dav_methods', HSL, '1+', methods),
    loc('create_full_put_path', HSL, 'flag', flag(), { init: false }),
    loc('min_delete_depth', HSL, '1', num(), { init: 0 }),
    loc('dav_access', HSL, '123', access, { init: 0o600 }),
  ],
};
