import type { Conf } from '../conf.js';
import { HSLI, loc, type Merge, type Module, type Setter } from '../directive.js';
import { DUPLICATE, oneOf } from '../kinds.js';
import { parseSeconds } from '../numbers.js';
import type { Complex } from '../plan.js';

interface HeaderRule {
  readonly name: string;
  readonly value: Complex;
  readonly always: boolean;
}

const addHeader: Setter = (cf, [name = '', value = '', always], row) => {
  const rule: HeaderRule = { name, value: cf.complex(value), always: always === 'always' };
  if (always !== undefined && always !== 'always') throw cf.error(`invalid parameter "${always}"`);
  cf.list<HeaderRule>(row).push(rule);
};

export interface Expires {
  readonly kind: 'off' | 'epoch' | 'max' | 'access' | 'modified' | 'daily';
  /** Seconds. */
  readonly time: number;
}

/** The value of `expires`, or nginx's words for what is wrong with it. */
export function parseExpires(text: string, modified: boolean): Expires | string {
  if (!modified) {
    if (text === 'epoch' || text === 'max' || text === 'off') return { kind: text, time: 0 };
  }
  if (text.startsWith('@')) {
    if (modified) return 'daily time cannot be used with "modified" parameter';
    const ms = parseSeconds(text.slice(1));
    if (ms === undefined) return 'invalid value';
    if (ms > 24 * 3_600_000) return 'daily time value must be less than 24 hours';
    return { kind: 'daily', time: ms / 1000 };
  }
  const sign = /^[+-]/.exec(text);
  const ms = parseSeconds(sign === null ? text : text.slice(1));
  if (ms === undefined) return 'invalid value';
  return {
    kind: modified ? 'modified' : 'access',
    time: (ms / 1000) * (sign?.[0] === '-' ? -1 : 1),
  };
}

const expires: Setter = (cf, args, row) => {
  const values = cf.values(row.level);
  if (row.field in values) return DUPLICATE;
  const modified = args.length === 2;
  if (modified && args[0] !== 'modified') return 'invalid value';
  const value = cf.complex(args.at(-1) as string);
  if (typeof value !== 'string') {
    values[row.field] = { kind: modified ? 'modified' : 'access', time: 0, value };
    return;
  }
  const parsed = parseExpires(value, modified);
  if (typeof parsed === 'string') return parsed;
  values[row.field] = parsed;
};

/** `add_header` of this level hides those of outer ones, unless `add_header_inherit merge` says otherwise. */
function mergeRules(field: string): (merge: Merge) => void {
  return ({ own, parent, conf }) => {
    const inherit = conf[`${field}_inherit`];
    const mine = own[field] as HeaderRule[] | undefined;
    const outer = (inherit === 'off' ? undefined : parent?.[field]) as HeaderRule[] | undefined;
    conf[field] = inherit === 'merge' ? [...(mine ?? []), ...(outer ?? [])] : (mine ?? outer ?? []);
  };
}
const mergeHeaders = mergeRules('add_header');
const mergeTrailers = mergeRules('add_trailer');

export const headersModule: Module = {
  name: 'http_headers',
  rows: [
    loc('expires', HSLI, '12', expires),
    loc('add_header', HSLI, '23', addHeader, { hidden: true }),
    loc('add_trailer', HSLI, '23', addHeader, { hidden: true }),
    loc('add_header_inherit', HSLI, '1', oneOf('off', 'on', 'merge'), { init: 'on' }),
    loc('add_trailer_inherit', HSLI, '1', oneOf('off', 'on', 'merge'), { init: 'on' }),
  ],
  mergeLocation: (_: Conf, merge) => {
    mergeHeaders(merge);
    mergeTrailers(merge);
  },
};
