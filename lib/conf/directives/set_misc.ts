import type { Conf } from '../conf.js';
import { HSLI, SERVER_IF, loc, type Directive, type Module, type Setter } from '../directive.js';
import { flag } from '../kinds.js';

const WHERE = HSLI | SERVER_IF;

function push(cf: Conf, fn: string, target: string, args: string[]): void {
  const name = cf.variableName(target);
  cf.define(name, { kind: 'set', weak: true });
  const index = cf.variable(name);
  cf.scope.rewrite.push({
    op: 'set_filter',
    fn,
    var: index,
    args: args.map((arg) => cf.complex(arg)),
  });
}

/** `set_x $var VALUE…`. */
const setter: Setter = (cf, [target = '', ...args], row) => push(cf, row.name, target, args);

/** `set_x $var [VALUE]`: without a value the variable's own is changed. */
const inPlace: Setter = (cf, [target = '', ...args], row) => {
  push(cf, row.name, target, args.length > 0 ? args : [target]);
};

const hashedUpstream: Setter = (cf, [target = '', list = '', key = ''], row) => {
  if (!list.includes('$') && !cf.upstreamLists.has(list)) {
    throw cf.error(`set_hashed_upstream: upstream list "${list}" not defined yet`);
  }
  push(cf, row.name, target, [list, key]);
};

const alphabet: Setter = (cf, [text = ''], row) => {
  const values = cf.values(row.level);
  if (text.length !== 32) {
    throw cf.error(
      `"set_base32_alphabet" directive takes an alphabet of ${text.length} bytes but 32 expected`,
    );
  }
  if (row.field in values) return 'is duplicate';
  values[row.field] = text;
};

const rows = (args: string, set: Setter, names: string): Directive[] =>
  names
    .trim()
    .split(/\s+/)
    .map((name) => loc(name, WHERE, args, set, { hidden: true }));

export const setMiscModule: Module = {
  name: 'http_set_misc',
  rows: [
    ...rows(
      '12',
      inPlace,
      `set_encode_base64 set_decode_base64 set_encode_base64url set_decode_base64url set_decode_hex set_encode_hex
       set_md5 set_sha1 set_unescape_uri set_escape_uri set_quote_sql_str set_quote_pgsql_str set_quote_json_str
       set_encode_base32 set_decode_base32 set_secure_random_alphanum set_secure_random_lcalpha`,
    ),
    ...rows('3', setter, 'set_hmac_sha1 set_hmac_sha256 set_random set_rotate'),
    ...rows('2', setter, 'set_if_empty set_formatted_gmt_time set_formatted_local_time'),
    ...rows('1', setter, 'set_local_today'),
    loc('set_hashed_upstream', WHERE, '3', hashedUpstream, { hidden: true }),
    loc('set_base32_padding', WHERE, 'flag', flag(), { init: true }),
    loc('set_misc_base32_padding', WHERE, 'flag', flag(), {
      field: 'set_base32_padding',
      init: true,
    }),
    loc('set_base32_alphabet', WHERE, '1', alphabet, { init: '0123456789abcdefghijklmnopqrstuv' }),
  ],
};
