import type { Conf } from '../conf.js';
import {
  LOCATION,
  SERVER,
  ignored,
  loc,
  type Merge,
  type Module,
  type Setter,
} from '../directive.js';
import type { ReferersPlan } from '../plan_modules.js';

/** `valid_referers` and the variable `$invalid_referer`. */

const HASH = 'hash tables size themselves';

type Mutable = {
  none: boolean;
  blocked: boolean;
  server_names: boolean;
  names: { name: string; uri: string }[];
  regex: ReferersPlan['regex'][number][];
};

function addName(cf: Conf, referers: Mutable, text: string): void {
  const slash = text.indexOf('/');
  const host = (slash < 0 ? text : text.slice(0, slash)).toLowerCase();
  const uri = slash < 0 ? '' : text.slice(slash);
  const wild = host.startsWith('.') || host.includes('*');
  if (host === '' || host.includes('..') || (wild && !/^(?:\*?\.[^*]+|[^*]+\.\*)$/.test(host))) {
    throw cf.error(`invalid hostname or wildcard "${host}"`);
  }
  // `.example.com` is `example.com` and `*.example.com`
  for (const name of host.startsWith('.') ? [host.slice(1), `*${host}`] : [host]) {
    if (referers.names.some((one) => one.name === name)) {
      throw cf.error(`conflicting parameter "${host}"`);
    }
    referers.names.push({ name, uri });
  }
}

const validReferers: Setter = (cf, args, row) => {
  const values = cf.values(row.level);
  const referers = (values[row.field] ??= {
    none: false,
    blocked: false,
    server_names: false,
    names: [],
    regex: [],
  }) as Mutable;
  for (const text of args) {
    if (text === '') throw cf.error(`invalid referer "${text}"`);
    else if (text === 'none' || text === 'blocked' || text === 'server_names')
      referers[text] = true;
    else if (text === '~') throw cf.error(`empty regex in "${text}"`);
    else if (text.startsWith('~')) referers.regex.push(cf.regex(text.slice(1), true));
    else addName(cf, referers, text);
  }
};

/** With `server_names` the names of the server that a level stands in are valid, too. */
function mergeReferers(cf: Conf, { own, conf, scope }: Merge): void {
  const referers = own['valid_referers'] as Mutable | undefined;
  if (referers === undefined) return;
  const names = [...referers.names];
  const server_regex: Mutable['regex'] = [];
  const server = referers.server_names ? cf.servers[scope.server]?.names : undefined;
  for (const { name, regex } of server ?? []) {
    if (regex !== undefined) server_regex.push(regex);
    else if (name.startsWith('.'))
      names.push({ name: name.slice(1), uri: '' }, { name: `*${name}`, uri: '' });
    else names.push({ name, uri: '' });
  }
  if ((referers.none || referers.blocked) && names.length === 0) {
    throw cf.error(
      'the "none" or "blocked" referers are specified in the "valid_referers" directive without any valid referer',
    );
  }
  const { server_names: _, ...rest } = referers;
  conf['valid_referers'] = { ...rest, names, server_regex };
}

export const refererModule: Module = {
  name: 'http_referer',
  rows: [
    loc('valid_referers', SERVER | LOCATION, '1+', validReferers),
    ignored('referer_hash_max_size', SERVER | LOCATION, '1', HASH),
    ignored('referer_hash_bucket_size', SERVER | LOCATION, '1', HASH),
  ],
  mergeLocation: mergeReferers,
};
