import type { Conf } from '../conf.js';
import {
  HSL,
  LIMIT_EXCEPT,
  LOCATION,
  LOCATION_IF,
  ignored,
  later,
  loc,
  type Merge,
  type Module,
  type Setter,
} from '../directive.js';
import { parseUrl } from '../inet.js';
import {
  DUPLICATE,
  bufs,
  complex,
  complexSize,
  confPath,
  flag,
  mask,
  msec,
  num,
  oneOf,
  pairs,
  size,
  str,
  strings,
  tempPath,
} from '../kinds.js';
import { hasVariables } from '../complex.js';
import { cacheRows, settleCache } from './proxy_cache.js';
import type { ProxyPass, ProxyRewrite } from '../plan.js';

const PASS = LOCATION | LOCATION_IF | LIMIT_EXCEPT;

/** Checks an address to pass requests to, which names an upstream or a host. */
export function checkPass(
  cf: Conf,
  url: string,
  defaultPort: number,
): Omit<ProxyPass, 'url' | 'ssl' | 'location'> {
  const parsed = parseUrl(url, { uriPart: true, noResolve: true, defaultPort });
  if (typeof parsed === 'string') throw cf.error(`${parsed} in upstream "${url}"`);
  const { host, port, noPort, portText, family, uri } = parsed;
  if (!noPort && cf.upstreams.some((u) => u.name.toLowerCase() === host.toLowerCase())) {
    throw cf.error(`upstream "${host}" may not have port ${port}`);
  }
  return { host, port, family, uri: uri.startsWith('?') ? `/${uri}` : uri, portText, noPort };
}

/** A file under the configuration's directory, `data:…`, a value with variables, or nothing: none. */
const certificate: Setter = (cf, [text = ''], row) => {
  const values = cf.values(row.level);
  if (row.field in values) return DUPLICATE;
  values[row.field] = cf.complex(/^(data:|engine:|\$|$)/.test(text) ? text : cf.confName(text));
};

const pass: Setter = (cf, [url = ''], row) => {
  const { scope } = cf;
  if (row.field in scope.loc) return DUPLICATE;
  cf.content('proxy');
  if (!scope.noname && scope.name.endsWith('/')) scope.autoRedirect = true;
  if (hasVariables(url)) {
    scope.loc[row.field] = { url: cf.complex(url) } satisfies ProxyPass;
    return;
  }
  const scheme = /^https?:\/\//i.exec(url)?.[0];
  if (scheme === undefined) throw cf.error('invalid URL prefix');
  const ssl = scheme.length === 8;
  const target = checkPass(cf, url.slice(scheme.length), ssl ? 443 : 80);
  const takesUri = scope.kind === 'prefix' || scope.kind === 'exact';
  if (target.uri !== '' && !takesUri) {
    throw cf.error(
      '"proxy_pass" cannot have URI part in location given by regular expression, or inside named location, ' +
        'or inside "if" statement, or inside "limit_except" block',
    );
  }
  scope.loc[row.field] = {
    url,
    ssl,
    ...target,
    location: takesUri ? scope.name : '',
  } satisfies ProxyPass;
};

/** `proxy_redirect`, `proxy_cookie_path`, `proxy_cookie_domain`: `off`, `default`, or a pattern and its replacement. */
function rewriteRule(kind: 'redirect' | 'path' | 'domain'): Setter {
  return (cf, args, row) => {
    const values = cf.values(row.level);
    const rules = values[row.field] as ProxyRewrite[] | 'off' | undefined;
    if (rules === 'off') return DUPLICATE;
    const [pattern = '', replacement] = args;
    if (replacement === undefined) {
      if (pattern === 'off') {
        if (rules !== undefined) return DUPLICATE;
        values[row.field] = 'off';
        return;
      }
      if (kind !== 'redirect' || pattern !== 'default')
        throw cf.error(`invalid parameter "${pattern}"`);
      const target = cf.scope.loc['proxy_pass'] as ProxyPass | undefined;
      if (target === undefined) {
        throw cf.error(
          '"proxy_redirect default" should be placed after the "proxy_pass" directive',
        );
      }
      if (typeof target.url !== 'string') {
        throw cf.error(
          '"proxy_redirect default" cannot be used with "proxy_pass" directive with variables',
        );
      }
      cf.list<ProxyRewrite>(row).push(defaultRedirect(target));
      return;
    }
    const list = cf.list<ProxyRewrite>(row);
    if (pattern.startsWith('~')) {
      const star = pattern.startsWith('~*');
      const regex = cf.regex(pattern.slice(star ? 2 : 1), star || kind === 'domain');
      list.push({ regex, replacement: cf.complex(replacement) });
      return;
    }
    const bare = (text: string): string => (kind === 'domain' ? text.replace(/^\./, '') : text);
    list.push({ pattern: cf.complex(bare(pattern)), replacement: cf.complex(bare(replacement)) });
  };
}

function defaultRedirect({ url, uri, location }: ProxyPass): ProxyRewrite {
  const text = url as string;
  if (uri !== undefined && uri !== '') return { pattern: text, replacement: location ?? '' };
  return { pattern: `${text}/`, replacement: '/' };
}

const cookieFlags: Setter = (cf, [name = '', ...flags], row) => {
  const values = cf.values(row.level);
  if (values[row.field] === 'off') return DUPLICATE;
  if (flags.length === 0) {
    if (name !== 'off') throw cf.error(`invalid parameter "${name}"`);
    if (values[row.field] !== undefined) return DUPLICATE;
    values[row.field] = 'off';
    return;
  }
  const star = name.startsWith('~*');
  const cookie = name.startsWith('~')
    ? { regex: cf.regex(name.slice(star ? 2 : 1), star) }
    : { name: cf.complex(name) };
  cf.list(row).push({ ...cookie, flags: flags.map((text) => cf.complex(text)) });
};

const setHeader: Setter = (cf, [name = '', value = ''], row) => {
  cf.list(row).push({ name, value: cf.complex(value) });
};

const versions = oneOf('1.0', '1.1', '2');
const httpVersion: Setter = (cf, args, row) => {
  cf.part(args[0] ?? '');
  return versions(cf, args, row);
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
  `error timeout non_idempotent http_500 http_502 http_503 http_504 http_403 http_404 http_429
  updating off denied invalid_header`.split(/\s+/);
const IGNORED_HEADERS =
  `X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset Expires
  Cache-Control Set-Cookie Vary`.split(/\s+/);
export const PROTOCOLS = ['SSLv2', 'SSLv3', 'TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'];
const DEFAULT_PROTOCOLS = ['TLSv1.2', 'TLSv1.3'];

function merge(cf: Conf, { own, parent, conf, scope }: Merge): void {
  // an `if` or `limit_except` without proxy_pass passes where its location does
  if (scope.noname) {
    conf['proxy_pass'] ??= parent?.['proxy_pass'];
    const outer = parent?.['content'] as { kind: string } | undefined;
    if (scope.kind === 'limit_except' && conf['content'] === undefined && outer?.kind === 'proxy') {
      conf['content'] = outer;
    }
  }
  const target = own['proxy_pass'] as ProxyPass | undefined;
  if (
    conf['proxy_redirect'] === undefined &&
    target !== undefined &&
    typeof target.url === 'string'
  ) {
    conf['proxy_redirect'] = [defaultRedirect(target)];
  }
  for (const handler of ['proxy_ssl_certificate_by_lua', 'proxy_ssl_verify_by_lua']) {
    const pass = conf['proxy_pass'] as ProxyPass | undefined;
    if (own[handler] !== undefined && (pass === undefined || pass.ssl === false)) {
      throw cf.error(`${handler}* should be used with proxy_pass https url`);
    }
  }
  checkBuffers(cf, conf as unknown as Buffers);
  settleCache(cf, conf);
}

interface Buffers {
  proxy_buffer_size: number;
  proxy_buffers: { number: number; size: number };
  proxy_busy_buffers_size?: number;
  proxy_temp_file_write_size?: number;
  proxy_max_temp_file_size: number;
}

function checkBuffers(cf: Conf, conf: Buffers): void {
  const { proxy_buffers: all } = conf;
  if (all.number < 2) throw cf.error('there must be at least 2 "proxy_buffers"');
  const largest = Math.max(conf.proxy_buffer_size, all.size);
  const busy = conf.proxy_busy_buffers_size ?? 2 * largest;
  const rule = 'the maximum of the value of "proxy_buffer_size" and one of the "proxy_buffers"';
  if (busy < largest) {
    throw cf.error(`"proxy_busy_buffers_size" must be equal to or greater than ${rule}`);
  }
  if (busy > (all.number - 1) * all.size) {
    throw cf.error(
      '"proxy_busy_buffers_size" must be less than the size of all "proxy_buffers" minus one buffer',
    );
  }
  if ((conf.proxy_temp_file_write_size ?? 2 * largest) < largest) {
    throw cf.error(`"proxy_temp_file_write_size" must be equal to or greater than ${rule}`);
  }
  const { proxy_max_temp_file_size: max } = conf;
  if (max !== 0 && max < largest) {
    throw cf.error(
      `"proxy_max_temp_file_size" must be equal to zero to disable temporary files usage or must be equal to or ` +
        `greater than ${rule}`,
    );
  }
}

export const proxyModule: Module = {
  name: 'http_proxy',
  group: 'proxy',
  used: (conf) => conf['proxy_pass'] !== undefined,
  rows: [
    loc('proxy_pass', PASS, '1', pass, { inherit: false }),
    loc('proxy_redirect', HSL, '12', rewriteRule('redirect')),
    loc('proxy_cookie_domain', HSL, '12', rewriteRule('domain')),
    loc('proxy_cookie_path', HSL, '12', rewriteRule('path')),
    loc('proxy_cookie_flags', HSL, '1234', cookieFlags),
    loc('proxy_buffering', HSL, 'flag', flag(), { init: true }),
    loc('proxy_request_buffering', HSL, 'flag', flag(), { init: true }),
    loc('proxy_ignore_client_abort', HSL, 'flag', flag(), { init: false }),
    loc('proxy_bind', HSL, '12', bind),
    loc('proxy_socket_keepalive', HSL, 'flag', flag(), { init: false }),
    loc('proxy_connect_timeout', HSL, '1', msec(), { init: 60_000 }),
    loc('proxy_send_timeout', HSL, '1', msec(), { init: 60_000 }),
    loc('proxy_read_timeout', HSL, '1', msec(), { init: 60_000 }),
    loc('proxy_intercept_errors', HSL, 'flag', flag(), { init: false }),
    loc('proxy_set_header', HSL, '2', setHeader, { init: [] }),
    loc('proxy_set_body', HSL, '1', complex()),
    loc('proxy_method', HSL, '1', complex()),
    loc('proxy_pass_request_headers', HSL, 'flag', flag(), { init: true }),
    loc('proxy_pass_request_body', HSL, 'flag', flag(), { init: true }),
    loc('proxy_pass_trailers', HSL, 'flag', flag(), { init: false }),
    loc('proxy_buffer_size', HSL, '1', size(), { init: 4096 }),
    loc('proxy_buffers', HSL, '2', bufs(), { init: { number: 8, size: 4096 } }),
    loc('proxy_busy_buffers_size', HSL, '1', size()),
    loc('proxy_force_ranges', HSL, 'flag', flag(), { init: false }),
    loc('proxy_limit_rate', HSL, '1', complexSize(), { init: '' }),
    loc('proxy_temp_path', HSL, '1234', tempPath()),
    loc('proxy_max_temp_file_size', HSL, '1', size(), { init: 1 << 30 }),
    loc('proxy_temp_file_write_size', HSL, '1', size()),
    loc('proxy_next_upstream', HSL, '1+', mask(...NEXT_UPSTREAM), { init: ['error', 'timeout'] }),
    loc('proxy_next_upstream_tries', HSL, '1', num(), { init: 0 }),
    loc('proxy_next_upstream_timeout', HSL, '1', msec(), { init: 0 }),
    loc('proxy_pass_header', HSL, '1', strings(), { init: [] }),
    loc('proxy_hide_header', HSL, '1', strings(), { init: [] }),
    loc('proxy_ignore_headers', HSL, '1+', mask(...IGNORED_HEADERS), { init: [] }),
    loc('proxy_http_version', HSL, '1', httpVersion, { init: '1.1' }),
    loc('proxy_ssl_session_reuse', HSL, 'flag', flag(), { init: true }),
    loc('proxy_ssl_protocols', HSL, '1+', mask(...PROTOCOLS), { init: DEFAULT_PROTOCOLS }),
    loc('proxy_ssl_ciphers', HSL, '1', str(), { init: 'DEFAULT' }),
    loc('proxy_ssl_name', HSL, '1', complex()),
    loc('proxy_ssl_server_name', HSL, 'flag', flag(), { init: false }),
    loc('proxy_ssl_verify', HSL, 'flag', flag(), { init: false }),
    loc('proxy_ssl_verify_depth', HSL, '1', num(), { init: 1 }),
    loc('proxy_ssl_trusted_certificate', HSL, '1', confPath(), { init: '' }),
    loc('proxy_ssl_crl', HSL, '1', confPath(), { init: '' }),
    loc('proxy_ssl_certificate', HSL, '1', certificate),
    loc('proxy_ssl_certificate_key', HSL, '1', certificate),
    loc('proxy_ssl_password_file', HSL, '1', confPath()),
    loc('proxy_ssl_conf_command', HSL, '2', pairs(), { init: [] }),
    ignored('proxy_headers_hash_max_size', HSL, '1', 'hash tables size themselves'),
    ignored('proxy_headers_hash_bucket_size', HSL, '1', 'hash tables size themselves'),
    ignored('proxy_send_lowat', HSL, '1', 'Linux has no such setting'),
    ignored(
      'proxy_ssl_certificate_cache',
      HSL,
      '123',
      'certificates are kept as long as the configuration',
    ),
    ...cacheRows,
    ...later(HSL, 'proxy_store proxy_store_access'),
  ],
  mergeLocation: merge,
};
