import { HSL, LOCATION, LOCATION_IF, loc, type Module, type Setter } from '../directive.js';
import { DUPLICATE, flag, mask, msec, size } from '../kinds.js';
import { hasVariables } from '../complex.js';
import { checkPass } from './pass.js';

/** memc-nginx-module: memcached by its text protocol. */

const COMMANDS =
  'get set add replace append prepend delete incr decr flush_all stats version'.split(' ');
const NEXT = 'error timeout invalid_response not_found off'.split(' ');

const pass: Setter = (cf, [url = ''], row) => {
  const { scope } = cf;
  if (row.field in scope.loc) return DUPLICATE;
  cf.content('memc');
  if (!scope.noname && scope.name.endsWith('/')) scope.autoRedirect = true;
  for (const name of ['cmd', 'key', 'value', 'flags', 'exptime']) cf.variable(`memc_${name}`);
  if (hasVariables(url)) {
    scope.loc[row.field] = { url: cf.complex(url) };
    return;
  }
  scope.loc[row.field] = { url, ...checkPass(cf, url, 0) };
};

const commands: Setter = (cf, args, row) => {
  const values = cf.values(row.level);
  for (const text of args) {
    if (!COMMANDS.includes(text)) {
      throw cf.error(`Unknown memcached command "${text}" used in "memc_cmds_allowed"`);
    }
  }
  values[row.field] = args;
};

/** Older names of parameters: the original refuses them with these words. */
const moved = (parameter: string): Setter => {
  return (cf, _, row) => {
    throw cf.error(
      `"${row.name}" is not supported, use the "${parameter}" parameter of the "server" directive inside the ` +
        '"upstream" block',
    );
  };
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
    loc('memc_cmds_allowed', HSL, '1+', commands, { init: COMMANDS }),
    loc('memc_upstream_max_fails', HSL, '1', moved('max_fails'), { hidden: true }),
    loc('memc_upstream_fail_timeout', HSL, '1', moved('fail_timeout'), { hidden: true }),
  ],
  mergeLocation: (_, { parent, conf, scope }) => {
    if (scope.kind === 'if') conf['memc_pass'] ??= parent?.['memc_pass'];
  },
};
