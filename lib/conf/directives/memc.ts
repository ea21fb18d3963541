import {
  HSL,
  LOCATION,
  LOCATION_IF,
  ignored,
  loc,
  type Module,
  type Setter,
} from '../directive.js';
import { DUPLICATE, flag, mask, msec, size } from '../kinds.js';
import { hasVariables } from '../complex.js';
import { checkPass } from './proxy.js';

/** memc-nginx-module: memcached by its text protocol. */

const COMMANDS =
  'get set add replace append prepend delete incr decr flush_all stats version verbosity'.split(
    ' ',
  );
const NEXT = 'error timeout invalid_response not_found off'.split(' ');

const pass: Setter = (cf, [url = ''], row) => {
  if (row.field in cf.scope.loc) return DUPLICATE;
  cf.content('memc');
  if (hasVariables(url)) cf.scope.loc[row.field] = { url: cf.complex(url) };
  else {
    const { host, port, family, noPort, portText } = checkPass(cf, url, 11_211);
    cf.scope.loc[row.field] = { url, host, port, family, noPort, portText };
  }
};

export const memcModule: Module = {
  name: 'http_memc',
  group: 'memc',
  used: (conf) => conf['memc_pass'] !== undefined,
  rows: [
    loc('memc_pass', LOCATION | LOCATION_IF, '1', pass, { inherit: false }),
    loc('memc_connect_timeout', HSL, '1', msec(), { init: 60_000 }),
    loc('memc_send_timeout', HSL, '1', msec(), { init: 60_000 }),
    loc('memc_read_timeout', HSL, '1', msec(), { init: 60_000 }),
    loc('memc_buffer_size', HSL, '1', size(), { init: 4096 }),
    loc('memc_ignore_client_abort', HSL, 'flag', flag(), { init: false }),
    loc('memc_next_upstream', HSL, '1+', mask(...NEXT), { init: ['error', 'timeout'] }),
    loc('memc_flags_to_last_modified', HSL, 'flag', flag(), { init: false }),
    loc('memc_cmds_allowed', HSL, '1+', mask(...COMMANDS), { init: COMMANDS }),
    ignored(
      'memc_upstream_max_fails',
      HSL,
      '1',
      'an old name of max_fails of a server in an upstream',
    ),
    ignored(
      'memc_upstream_fail_timeout',
      HSL,
      '1',
      'an old name of fail_timeout of a server in an upstream',
    ),
  ],
  mergeLocation: (_, { parent, conf, scope }) => {
    if (scope.kind === 'if') conf['memc_pass'] ??= parent?.['memc_pass'];
  },
};
