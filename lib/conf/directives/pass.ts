import type { Conf } from '../conf.js';
import {
  HSL,
  LIMIT_EXCEPT,
  LOCATION,
  LOCATION_IF,
  ignored,
  loc,
  type Directive,
  type Merge,
  type Setter,
} from '../directive.js';
import { parseUrl } from '../inet.js';
import {
  DUPLICATE,
  complex,
  confPath,
  flag,
  mask,
  msec,
  num,
  pairs,
  size,
  str,
  strings,
} from '../kinds.js';
import type { PassTarget } from '../plan.js';

/** What directives that pass requests on have in common, each under its prefix: `proxy_`, `grpc_`. */

export const PASS = LOCATION | LOCATION_IF | LIMIT_EXCEPT;

type Target = Omit<PassTarget, 'url' | 'ssl' | 'location'> & { uri: string };

/** Checks an address to pass requests to, which names an upstream or a host. Without a usual port, that is 0. */
export function checkPass(cf: Conf, url: string, defaultPort: number, uriPart = false): Target {
  const parsed = parseUrl(url, { uriPart, noResolve: true, defaultPort });
  if (typeof parsed === 'string') throw cf.error(`${parsed} in upstream "${url}"`);
  const { host, port, noPort, portText, family, uri } = parsed;
  if (!noPort && cf.upstreams.some((u) => u.name.toLowerCase() === host.toLowerCase())) {
    throw cf.error(`upstream "${host}" may not have port ${port}`);
  }
  return { host, port, family, uri: uri.startsWith('?') ? `/${uri}` : uri, portText, noPort };
}

/** An `if` or `limit_except` without a pass of its own passes where its location does. */
export function inheritPass(kind: string, { parent, conf, scope }: Merge): void {
  if (!scope.noname) return;
  conf[`${kind}_pass`] ??= parent?.[`${kind}_pass`];
  const outer = parent?.['content'] as { kind: string } | undefined;
  if (scope.kind === 'limit_except' && conf['content'] === undefined && outer?.kind === kind) {
    conf['content'] = outer;
  }
}

/** A file under the configuration's directory, `data:…`, a value with variables, or nothing: none. */
const certificate: Setter = (cf, [text = ''], row) => {
  const values = cf.values(row.level);
  if (row.field in values) return DUPLICATE;
  values[row.field] = cf.complex(/^(data:|engine:|\$|$)/.test(text) ? text : cf.confName(text));
};

const setHeader: Setter = (cf, [name = '', value = ''], row) => {
  cf.list(row).push({ name, value: cf.complex(value) });
};

const bind: Setter = (cf, [address = '', transparent], row) => {
  const values = cf.values(row.level);
  if (row.field in values) return DUPLICATE;
  if (transparent !== undefined && transparent !== 'transparent') {
    throw cf.error(`invalid parameter "${transparent}"`);
  }
  if (transparent !== undefined) cf.part(transparent);
  values[row.field] = {
    address: address === 'off' ? '' : cf.complex(address),
    transparent: transparent !== undefined,
  };
};

export const NEXT_UPSTREAM =
  `error timeout invalid_header non_idempotent http_500 http_502 http_503 http_504 http_403 http_404 http_429
  off`.split(/\s+/);
const IGNORED_HEADERS =
  `X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset Expires
  Cache-Control Set-Cookie Vary`.split(/\s+/);
export const PROTOCOLS = ['SSLv2', 'SSLv3', 'TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'];
const DEFAULT_PROTOCOLS = ['TLSv1.2', 'TLSv1.3'];

/** `next`: what `KIND_next_upstream` takes. */
export function passRows(kind: string, next: readonly string[]): Directive[] {
  const row = (name: string, args: string, set: Setter, options = {}): Directive =>
    loc(`${kind}_${name}`, HSL, args, set, options);
  return [
    row('bind', '12', bind),
    row('socket_keepalive', 'flag', flag(), { init: false }),
    row('connect_timeout', '1', msec(), { init: 60_000 }),
    row('send_timeout', '1', msec(), { init: 60_000 }),
    row('read_timeout', '1', msec(), { init: 60_000 }),
    row('intercept_errors', 'flag', flag(), { init: false }),
    row('set_header', '2', setHeader, { init: [] }),
    row('buffer_size', '1', size(), { init: 4096 }),
    row('next_upstream', '1+', mask(...next), { init: ['error', 'timeout'] }),
    row('next_upstream_tries', '1', num(), { init: 0 }),
    row('next_upstream_timeout', '1', msec(), { init: 0 }),
    row('pass_header', '1', strings(), { init: [] }),
    row('hide_header', '1', strings(), { init: [] }),
    row('ignore_headers', '1+', mask(...IGNORED_HEADERS), { init: [] }),
    row('ssl_session_reuse', 'flag', flag(), { init: true }),
    row('ssl_protocols', '1+', mask(...PROTOCOLS), { init: DEFAULT_PROTOCOLS }),
    row('ssl_ciphers', '1', str(), { init: 'DEFAULT' }),
    row('ssl_name', '1', complex()),
    row('ssl_server_name', 'flag', flag(), { init: false }),
    row('ssl_verify', 'flag', flag(), { init: false }),
    row('ssl_verify_depth', '1', num(), { init: 1 }),
    row('ssl_trusted_certificate', '1', confPath(), { init: '' }),
    row('ssl_crl', '1', confPath(), { init: '' }),
    row('ssl_certificate', '1', certificate),
    row('ssl_certificate_key', '1', certificate),
    row('ssl_password_file', '1', confPath()),
    row('ssl_conf_command', '2', pairs(), { init: [] }),
    ignored(
      `${kind}_ssl_certificate_cache`,
      HSL,
      '123',
      'certificates are kept as long as the configuration',
    ),
  ];
}
