import type { Conf } from '../conf.js';
import { HSL, ignored, later, loc, type Merge, type Module, type Setter } from '../directive.js';
import { DUPLICATE, bufs, complex, complexSize, flag, oneOf, size, tempPath } from '../kinds.js';
import { hasVariables } from '../complex.js';
import { NEXT_UPSTREAM, PASS, checkPass, inheritPass, passRows } from './pass.js';
import { cacheRows, settleCache } from './proxy_cache.js';
import type { PassTarget, ProxyRewrite } from '../plan.js';

const pass: Setter = (cf, [url = ''], row) => {
  const { scope } = cf;
  if (row.field in scope.loc) return DUPLICATE;
  cf.content('proxy');
  if (!scope.noname && scope.name.endsWith('/')) scope.autoRedirect = true;
  if (hasVariables(url)) {
    scope.loc[row.field] = { url: cf.complex(url) } satisfies PassTarget;
    return;
  }
  const scheme = /^https?:\/\//i.exec(url)?.[0];
  if (scheme === undefined) throw cf.error('invalid URL prefix');
  const ssl = scheme.length === 8;
  const target = checkPass(cf, url.slice(scheme.length), ssl ? 443 : 80, true);
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
  } satisfies PassTarget;
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
      const target = cf.scope.loc['proxy_pass'] as PassTarget | undefined;
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

function defaultRedirect({ url, uri, location }: PassTarget): ProxyRewrite {
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

const versions = oneOf('1.0', '1.1', '2');
const httpVersion: Setter = (cf, args, row) => {
  cf.part(args[0] ?? '');
  return versions(cf, args, row);
};

function merge(cf: Conf, merged: Merge): void {
  const { own, conf } = merged;
  inheritPass('proxy', merged);
  const target = own['proxy_pass'] as PassTarget | undefined;
  if (
    conf['proxy_redirect'] === undefined &&
    target !== undefined &&
    typeof target.url === 'string'
  ) {
    conf['proxy_redirect'] = [defaultRedirect(target)];
  }
  for (const handler of ['proxy_ssl_certificate_by_lua', 'proxy_ssl_verify_by_lua']) {
    const pass = conf['proxy_pass'] as PassTarget | undefined;
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
    loc('proxy_set_body', HSL, '1', complex()),
    loc('proxy_method', HSL, '1', complex()),
    loc('proxy_pass_request_headers', HSL, 'flag', flag(), { init: true }),
    loc('proxy_pass_request_body', HSL, 'flag', flag(), { init: true }),
    loc('proxy_pass_trailers', HSL, 'flag', flag(), { init: false }),
    loc('proxy_buffers', HSL, '2', bufs(), { init: { number: 8, size: 4096 } }),
    loc('proxy_busy_buffers_size', HSL, '1', size()),
    loc('proxy_force_ranges', HSL, 'flag', flag(), { init: false }),
    loc('proxy_limit_rate', HSL, '1', complexSize(), { init: '' }),
    loc('proxy_temp_path', HSL, '1234', tempPath()),
    loc('proxy_max_temp_file_size', HSL, '1', size(), { init: 1 << 30 }),
    loc('proxy_temp_file_write_size', HSL, '1', size()),
    loc('proxy_http_version', HSL, '1', httpVersion, { init: '1.1' }),
    ...passRows('proxy', [...NEXT_UPSTREAM, 'updating', 'denied']),
    ignored('proxy_headers_hash_max_size', HSL, '1', 'hash tables size themselves'),
    ignored('proxy_headers_hash_bucket_size', HSL, '1', 'hash tables size themselves'),
    ignored('proxy_send_lowat', HSL, '1', 'Linux has no such setting'),
    ...cacheRows,
    ...later(HSL, 'proxy_store proxy_store_access'),
  ],
  mergeLocation: merge,
};
