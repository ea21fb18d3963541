import type { Conf } from '../conf.js';
import {
  HSL,
  HSLI,
  HTTP,
  LOCATION,
  LOCATION_IF,
  ignored,
  later,
  loc,
  type Merge,
  type Module,
  type Setter,
} from '../directive.js';
import { bufs, flag, mask, mimeTypes, num, oneOf, size } from '../kinds.js';
import { DUPLICATE } from '../kinds.js';

/** Filters of answers, and small request modules that come before them. */

const gzipDisable: Setter = (cf, args, row) => {
  for (const text of args) {
    cf.list(row).push(text === 'msie6' ? text : cf.regex(text, true));
  }
};

const PROXIED = 'off expired no-cache no-store private no_last_modified no_etag auth any'.split(
  ' ',
);

const subFilter: Setter = (cf, [match = '', replacement = ''], row) => {
  if (match === '') throw cf.error('empty search pattern');
  if (cf.list(row).length === 255) throw cf.error('number of search patterns exceeds 255');
  cf.list(row).push({ match: cf.complex(match), replacement: cf.complex(replacement) });
};

const authRequest: Setter = (cf, [uri = ''], row) => {
  const values = cf.values(row.level);
  if (row.field in values) return DUPLICATE;
  values[row.field] = uri === 'off' ? '' : cf.complex(uri);
};

const authRequestSet: Setter = (cf, [target = '', value = ''], row) => {
  const name = cf.variableName(target);
  cf.define(name, { kind: 'set', weak: true });
  cf.list(row).push({ var: cf.variable(name), value: cf.complex(value) });
};

/** A power of two as its exponent: `first` stands for `most`, one less for the half of it, down to 512. */
function exponent(most: number, first: number, unless: string): Setter {
  const parse = size();
  return (cf, args, row) => {
    const wrong = parse(cf, args, row);
    if (wrong !== undefined) return wrong;
    const values = cf.values(row.level);
    for (let bytes = most, result = first; bytes > 256; bytes /= 2, result--) {
      if (bytes !== values[row.field]) continue;
      values[row.field] = result;
      return;
    }
    return unless;
  };
}
const window = exponent(32_768, 15, 'must be 512, 1k, 2k, 4k, 8k, 16k, or 32k');
const hash = exponent(131_072, 9, 'must be 512, 1k, 2k, 4k, 8k, 16k, 32k, 64k, or 128k');

export const gzipModule: Module = {
  name: 'http_gzip',
  group: 'gzip',
  used: (conf) =>
    conf['gzip_on'] === true || conf['gzip_static'] !== 'off' || conf['gunzip'] === true,
  rows: [
    loc('gzip', HSLI, 'flag', flag(), { field: 'gzip_on', init: false }),
    loc('gzip_static', HSL, '1', oneOf('off', 'on', 'always'), { init: 'off' }),
    loc('gzip_vary', HSL, 'flag', flag(), { init: false }),
    loc('gzip_types', HSL, '1+', mimeTypes('text/html'), { init: ['text/html'] }),
    loc('gzip_comp_level', HSL, '1', num(1, 9), { init: 1 }),
    loc('gzip_min_length', HSL, '1', size(), { init: 20 }),
    loc('gzip_window', HSL, '1', window, { init: 15 }),
    loc('gzip_hash', HSL, '1', hash, { init: 8 }),
    loc('gzip_buffers', HSL, '2', bufs(), { init: { number: 32, size: 4096 } }),
    loc('gzip_no_buffer', HSL, 'flag', flag(), { init: false }),
    loc('gzip_http_version', HSL, '1', oneOf('1.0', '1.1'), { init: '1.1' }),
    loc('gzip_proxied', HSL, '1+', mask(...PROXIED), { init: ['off'] }),
    loc('gzip_disable', HSL, '1+', gzipDisable, { init: [] }),
    loc('gunzip', HSL, 'flag', flag(), { init: false }),
    loc('gunzip_buffers', HSL, '2', bufs(), { init: { number: 32, size: 4096 } }),
    ignored('postpone_gzipping', HSL, '1', 'compression starts with the first bytes'),
  ],
};

/** `off`, a charset, or a variable that names one. */
const charset: Setter = (cf, [text = ''], row) => {
  const values = cf.values(row.level);
  if (row.field in values) return DUPLICATE;
  if (text === 'off' && row.name === 'charset') values[row.field] = '';
  else if (text.startsWith('$')) values[row.field] = { var: cf.variable(cf.variableName(text)) };
  else values[row.field] = text;
};

/** Without charset_map, what comes in one charset cannot leave in another. */
function checkCharsets(cf: Conf, { conf }: Merge): void {
  const { charset: to, source_charset: from } = conf;
  if (typeof to !== 'string' || typeof from !== 'string') return;
  if (to === '' || to.toLowerCase() === from.toLowerCase()) return;
  throw cf.error(`no "charset_map" between the charsets "${from}" and "${to}"`);
}

export const filtersModule: Module = {
  name: 'http_filters',
  rows: [
    loc('sub_filter', HSL, '2', subFilter),
    loc('sub_filter_types', HSL, '1+', mimeTypes('text/html'), { init: ['text/html'] }),
    loc('sub_filter_once', HSL, 'flag', flag(), { init: true }),
    loc('sub_filter_last_modified', HSL, 'flag', flag(), { init: false }),
    loc('auth_request', HSL, '1', authRequest),
    loc('auth_request_set', HSL, '2', authRequestSet, { init: [] }),
    loc('charset', HSLI, '1', charset),
    loc('charset_types', HSL, '1+', mimeTypes('text/html'), {
      init: 'text/html text/xml text/plain text/vnd.wap.wml application/javascript application/rss+xml'.split(
        ' ',
      ),
    }),
    loc('source_charset', HSLI, '1', charset),
    loc('override_charset', HSLI, 'flag', flag(), { init: false }),

    ...later(HSL, 'add_before_body add_after_body addition_types'),
    ...later(HSLI, 'ssi'),
    ...later(
      HSL,
      'ssi_silent_errors ssi_ignore_recycled_buffers ssi_min_file_chunk ssi_value_length ssi_types',
    ),
    ...later(HSL, 'ssi_last_modified slice'),
    ...later(HSL, 'secure_link secure_link_md5 secure_link_secret'),
    ...later(
      HSL,
      `userid userid_service userid_name userid_domain userid_path userid_expires userid_flags userid_p3p
      userid_mark`,
    ),
    ...later(HSL, 'modern_browser ancient_browser modern_browser_value ancient_browser_value'),
    ...later(HTTP, 'charset_map', '{}'),
    ...later(
      HSL,
      `image_filter image_filter_jpeg_quality image_filter_webp_quality image_filter_sharpen image_filter_transparency image_filter_interlace
      image_filter_buffer xslt_stylesheet xslt_types xslt_param xslt_string_param xslt_last_modified xml_entities`,
    ),
    ...later(HTTP, 'geoip_country geoip_city geoip_org geoip_proxy geoip_proxy_recursive'),
    ...later(LOCATION | LOCATION_IF, 'fastcgi_pass uwsgi_pass scgi_pass memcached_pass'),
    ...later(HSL, 'fastcgi_param fastcgi_index fastcgi_split_path_info uwsgi_param scgi_param'),
    ...['fastcgi', 'uwsgi', 'scgi'].map((name) =>
      ignored(`${name}_temp_path`, HSL, '1234', `there is no ${name}_pass that would write there`),
    ),
  ],
  mergeLocation: checkCharsets,
};
