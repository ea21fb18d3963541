import {
  HSL,
  HSLI,
  HTTP,
  LOCATION,
  SERVER,
  ignored,
  later,
  loc,
  main,
  srv,
  type Module,
  type Setter,
} from '../directive.js';
import {
  DUPLICATE,
  bufs,
  complexSize,
  flag,
  mask,
  msec,
  num,
  offset,
  oneOf,
  size,
  str,
  tempPath,
} from '../kinds.js';
import { listen, listenByDefault } from '../listens.js';
import { parseSeconds, parseTime } from '../numbers.js';
import { limitExcept, location } from './location.js';
import { alias, errorPage, mergeRoot, resolver, root, types } from './http_core_values.js';

const HS = HTTP | SERVER;

const server: Setter = (cf) => {
  const number = cf.servers.length;
  const scope = cf.inside('server', (block) => {
    block.server = number;
    cf.servers.push({ scope: block, names: [] });
  });
  if (scope.srv['listen'] !== true && cf.defaultListen) listenByDefault(cf, number);
};

const listenSetter: Setter = (cf, args) => {
  cf.scope.srv['listen'] = true;
  listen(cf, args, cf.scope.server);
};

const serverName: Setter = (cf, args) => {
  const state = cf.servers[cf.scope.server];
  for (const text of args) {
    if ((text.startsWith('*') && (text.length < 3 || text[1] !== '.')) || text === '.') {
      throw cf.error(`server name "${text}" is invalid`);
    }
    if (text.includes('/')) cf.warn(`server name "${text}" has suspicious symbols`);
    if (text.startsWith('~')) {
      if (text.length === 1) throw cf.error(`empty regex in server name "${text}"`);
      const pattern = text.slice(1);
      state?.names.push({ name: pattern, regex: cf.regex(pattern, /[A-Z]/.test(pattern)) });
    } else {
      state?.names.push({
        name: text.toLowerCase() === '$hostname' ? cf.hostname : text.toLowerCase(),
      });
    }
  }
};

const poolSize: Setter = (cf, args, row) => {
  const sentence = size()(cf, args, row);
  if (sentence !== undefined) return sentence;
  const bytes = cf.scope.srv[row.field] as number;
  if (bytes < 112) throw cf.error('the pool size must be no less than 112');
  if (bytes % 16 !== 0) throw cf.error('the pool size must be a multiple of 16');
};

const keepaliveTimeout: Setter = (cf, [timeout = '', header]) => {
  const values = cf.scope.loc;
  if ('keepalive_timeout' in values) return DUPLICATE;
  const ms = parseTime(timeout);
  const seconds = header === undefined ? undefined : parseSeconds(header);
  if (ms === undefined || (header !== undefined && seconds === undefined)) return 'invalid value';
  values['keepalive_timeout'] = ms;
  if (seconds !== undefined) values['keepalive_header'] = seconds;
};

const internal: Setter = (cf, _, row) => {
  if (row.field in cf.scope.loc) return DUPLICATE;
  cf.scope.loc[row.field] = true;
};

const HASH = 'hash tables size themselves';
const FILES = 'files are opened for each answer';
const IO = 'files are read by libuv';

export const httpCoreModule: Module = {
  name: 'http_core',
  rows: [
    main('variables_hash_max_size', HTTP, '1', num(), { init: 1024 }),
    ignored('variables_hash_bucket_size', HTTP, '1', HASH),
    main('server_names_hash_max_size', HTTP, '1', num(), { init: 512 }),
    ignored('server_names_hash_bucket_size', HTTP, '1', HASH),
    ignored('types_hash_max_size', HSL, '1', HASH),
    ignored('types_hash_bucket_size', HSL, '1', HASH),

    srv('server', HTTP, '0', server, { hidden: true, block: '{}' }),
    srv('listen', SERVER, '1+', listenSetter, { hidden: true }),
    srv('server_name', SERVER, '1+', serverName, { hidden: true }),
    srv('connection_pool_size', HS, '1', poolSize, { init: 512 }),
    srv('request_pool_size', HS, '1', poolSize, { init: 4096 }),
    srv('client_header_timeout', HS, '1', msec(), { init: 60_000 }),
    srv('client_header_buffer_size', HS, '1', size(), { init: 1024 }),
    srv('large_client_header_buffers', HS, '2', bufs(), { init: { number: 4, size: 8192 } }),
    srv('max_headers', HS, '1', num(), { init: 1000 }),
    srv('ignore_invalid_headers', HS, 'flag', flag(), { init: true }),
    srv('merge_slashes', HS, 'flag', flag(), { init: true }),
    srv('underscores_in_headers', HS, 'flag', flag(), { init: false }),

    loc('location', SERVER | LOCATION, '12', location, { hidden: true, block: '{}' }),
    loc('limit_except', LOCATION, '1+', limitExcept, { hidden: true, block: '{}' }),
    loc('types', HSL, '0', types, {
      block: '{}',
      init: { html: 'text/html', gif: 'image/gif', jpg: 'image/jpeg' },
    }),
    loc('default_type', HSL, '1', str(), { init: 'text/plain' }),
    loc('root', HSLI, '1', root, { hidden: true }),
    loc('alias', LOCATION, '1', alias, { hidden: true }),
    loc('client_max_body_size', HSL, '1', offset(), { init: 1 << 20 }),
    loc('client_body_buffer_size', HSL, '1', size(), { init: 8192 }),
    loc('client_body_timeout', HSL, '1', msec(), { init: 60_000 }),
    loc('client_body_temp_path', HSL, '1234', tempPath()),
    loc('client_body_in_file_only', HSL, '1', oneOf('off', 'on', 'clean'), { init: 'off' }),
    loc('client_body_in_single_buffer', HSL, 'flag', flag(), { init: false }),
    loc('sendfile', HSLI, 'flag', flag(), { init: false }),
    loc('sendfile_max_chunk', HSL, '1', size(), { init: 2 << 20 }),
    loc('subrequest_output_buffer_size', HSL, '1', size(), { init: 4096 }),
    loc('tcp_nopush', HSL, 'flag', flag(), { init: false }),
    loc('tcp_nodelay', HSL, 'flag', flag(), { init: true }),
    loc('send_timeout', HSL, '1', msec(), { init: 60_000 }),
    loc('postpone_output', HSL, '1', size(), { init: 1460 }),
    loc('limit_rate', HSLI, '1', complexSize(), { init: '' }),
    loc('limit_rate_after', HSLI, '1', complexSize(), { init: '' }),
    loc('keepalive_time', HSL, '1', msec(), { init: 3_600_000 }),
    loc('keepalive_timeout', HSL, '12', keepaliveTimeout, { init: 75_000 }),
    loc('keepalive_min_timeout', HSL, '1', msec(), { init: 0 }),
    loc('keepalive_requests', HSL, '1', num(), { init: 1000 }),
    loc('keepalive_disable', HSL, '12', mask('none', 'msie6', 'safari'), { init: ['msie6'] }),
    loc('satisfy', HSL, '1', oneOf('all', 'any'), { init: 'all' }),
    loc('internal', LOCATION, '0', internal, { init: false }),
    loc('lingering_close', HSL, '1', oneOf('off', 'on', 'always'), { init: 'on' }),
    loc('lingering_time', HSL, '1', msec(), { init: 30_000 }),
    loc('lingering_timeout', HSL, '1', msec(), { init: 5000 }),
    loc('reset_timedout_connection', HSL, 'flag', flag(), { init: false }),
    loc('absolute_redirect', HSL, 'flag', flag(), { init: true }),
    loc('server_name_in_redirect', HSL, 'flag', flag(), { init: false }),
    loc('port_in_redirect', HSL, 'flag', flag(), { init: true }),
    loc('msie_padding', HSL, 'flag', flag(), { init: true }),
    loc('log_not_found', HSL, 'flag', flag(), { init: true }),
    loc('log_subrequest', HSL, 'flag', flag(), { init: false }),
    loc('recursive_error_pages', HSL, 'flag', flag(), { init: false }),
    loc('server_tokens', HSL, '1', oneOf('off', 'on', 'build'), { init: 'on' }),
    loc('if_modified_since', HSL, '1', oneOf('off', 'exact', 'before'), { init: 'exact' }),
    loc('max_ranges', HSL, '1', num(), { init: 0x7fffffff }),
    loc('chunked_transfer_encoding', HSL, 'flag', flag(), { init: true }),
    loc('etag', HSL, 'flag', flag(), { init: true }),
    loc('error_page', HSLI, '2+', errorPage, { init: [] }),
    loc('resolver', HSL, '1+', resolver),
    loc('resolver_timeout', HSL, '1', msec(), { init: 30_000 }),
    loc('output_buffers', HSL, '2', bufs(), { init: { number: 2, size: 32_768 } }),

    ignored('msie_refresh', HSL, 'flag', 'the browsers that need it are gone'),
    ignored('send_lowat', HSL, '1', 'Linux has no such setting'),
    ignored('aio', HSL, '1', IO),
    ignored('aio_write', HSL, 'flag', IO),
    ignored('read_ahead', HSL, '1', IO),
    ignored('directio', HSL, '1', IO),
    ignored('directio_alignment', HSL, '1', IO),
    ignored('open_file_cache', HSL, '12', FILES),
    ignored('open_file_cache_valid', HSL, '1', FILES),
    ignored('open_file_cache_min_uses', HSL, '1', FILES),
    ignored('open_file_cache_errors', HSL, 'flag', FILES),
    ignored('open_file_cache_events', HSL, 'flag', FILES),
    ...later(HSL, 'auth_delay disable_symlinks early_hints post_action client_body_early_read'),
  ],
  mergeLocation: (cf, merge) => {
    const { own, parent, conf } = merge;
    mergeRoot(cf, merge);
    conf['keepalive_header'] = own['keepalive_header'] ?? parent?.['keepalive_header'] ?? 0;
    conf['client_body_temp_path'] ??= cf.fullName('client_body_temp');
  },
  mergeServer: (cf, { conf }) => {
    const { size: large } = conf['large_client_header_buffers'] as { size: number };
    if (large < (conf['connection_pool_size'] as number)) {
      throw cf.error(
        'the "large_client_header_buffers" size must be equal to or greater than "connection_pool_size"',
      );
    }
  },
};
