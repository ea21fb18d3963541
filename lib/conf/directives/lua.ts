import {
  HSL,
  HSLI,
  HTTP,
  LOCATION,
  LOCATION_IF,
  SERVER,
  SERVER_IF,
  UPSTREAM,
  loc,
  main,
  srv,
  upstream,
  type Directive,
  type Level,
  type Module,
  type Setter,
} from '../directive.js';
import { PROTOCOLS } from './pass.js';
import {
  DUPLICATE,
  confName,
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
} from '../kinds.js';
import { parseSize } from '../numbers.js';
import type { Handler } from '../plan.js';

const LI = LOCATION | LOCATION_IF;
const HS = HTTP | SERVER;
const NO_CODE = 'invalid location config: no runnable Lua code';

/** A handler of a phase: `FIELD` (inline), `FIELD_block`, `FIELD_file` and, for JavaScript, `FIELD` with `_js`. */
function handlers(
  field: string,
  where: number,
  level: Level,
  forms: string,
  then: (cf: Parameters<Setter>[0], handler: Handler) => void = () => undefined,
): Directive[] {
  const row = { main, srv, loc, upstream }[level as 'loc'];
  const keep =
    (make: (cf: Parameters<Setter>[0], text: string) => Handler, empty: boolean): Setter =>
    (cf, [text = '']) => {
      const values = cf.values(level);
      if (field in values) return DUPLICATE;
      if (text === '' && !empty) throw cf.error(NO_CODE);
      const handler = make(cf, text);
      values[field] = handler;
      then(cf, handler);
    };
  // init_worker_by_lua and exit_worker_by_lua run empty code
  const empty = field.includes('_worker_');
  const inline = keep((cf, text) => cf.inlineHandler(field, text), empty);
  // the phases of a process have no request, and so no variables
  const file = keep(
    (cf, text) => cf.fileHandler(level === 'loc' || level === 'srv' ? cf.complex(text) : text),
    empty,
  );
  const js = keep((cf, text) => cf.jsHandler(text), false);
  const rows: Directive[] = [];
  if (forms.includes('js'))
    rows.push(row(field.replace(/_lua$/, '_js'), where, '1', js, { field }));
  if (forms.includes('inline')) rows.push(row(field, where, '1', inline, { field }));
  if (forms.includes('block'))
    rows.push(row(`${field}_block`, where, '0', inline, { field, block: 'lua' }));
  if (forms.includes('file')) rows.push(row(`${field}_file`, where, '1', file, { field }));
  return rows;
}

const ALL = 'inline block file js';
const NEW = 'block file js';
const LUA_ONLY = 'block file';

/** `set_by_lua $var CODE [ARGS]`. */
function setBy(make: (cf: Parameters<Setter>[0], text: string) => Handler): Setter {
  return (cf, [target = '', text = '', ...args]) => {
    const name = cf.variableName(target);
    const handler = make(cf, text);
    cf.define(name, { kind: 'set', weak: true });
    cf.scope.rewrite.push({
      op: 'set_by_lua',
      var: cf.variable(name),
      handler: { ...handler, args: args.map((arg) => cf.complex(arg)) },
    });
  };
}

const SETTERS = SERVER | SERVER_IF | LI;
const setInline = setBy((cf, text) => cf.inlineHandler('set_by_lua', text));
const setFile = setBy((cf, text) => cf.fileHandler(cf.complex(text)));
const setJs = setBy((cf, text) => cf.jsHandler(text));

const DICT_FLAGS = ['exact', 'values=any'];

const sharedDict: Setter = (cf, [name = '', sizeText = '', ...flags], row) => {
  if (name === '') throw cf.error('invalid lua shared dict name ""');
  const bytes = parseSize(sizeText);
  if (bytes === undefined || bytes <= 8191)
    throw cf.error(`invalid lua shared dict size "${sizeText}"`);
  const wrong = flags.find((flag, i) => !DICT_FLAGS.includes(flag) || flags.indexOf(flag) !== i);
  if (wrong !== undefined) throw cf.error(`invalid parameter "${wrong}"`);
  const dicts = cf.list<{ name: string; size: number; exact: boolean; any: boolean }>(row);
  if (dicts.some((d) => d.name === name)) {
    throw cf.error(`lua_shared_dict "${name}" is already defined as "${name}"`);
  }
  cf.sharedMemory(name, 'lua_shared_dict', bytes);
  dicts.push({
    name,
    size: bytes,
    exact: flags.includes('exact'),
    any: flags.includes('values=any'),
  });
};

const codeCache: Setter = (cf, args, row) => {
  const sentence = flag()(cf, args, row);
  if (sentence === undefined && cf.values(row.level)[row.field] === false) {
    cf.warn('lua_code_cache is off; this will hurt performance', 'alert');
  }
  return sentence;
};

const phaseCapabilities: Setter = (cf, args, row) => {
  cf.part(args[0] ?? '');
  return oneOf('strict', 'extended')(cf, args, row);
};

const luaPath: Setter = (cf, [text = ''], row) => {
  const values = cf.values(row.level);
  if (values[row.field] !== undefined && values[row.field] !== '') return DUPLICATE;
  values[row.field] = text;
};

const MIN_LOG = 4096;

const captureErrorLog: Setter = (cf, [text = ''], row) => {
  const values = cf.values(row.level);
  if (row.field in values) return DUPLICATE;
  const bytes = text === '' ? undefined : parseSize(text);
  if (text === '') throw cf.error('invalid capture error log size ""');
  if (bytes === undefined || bytes < MIN_LOG) {
    throw cf.error(`invalid capture error log size "${text}", minimum size is ${MIN_LOG}`);
  }
  values[row.field] = bytes;
};

const loadRestyCore: Setter = (cf) => {
  cf.warn(
    'lua_load_resty_core is deprecated (the lua-resty-core library is required since ngx_lua v0.10.16)',
  );
};

export const luaModule: Module = {
  name: 'http_lua',
  rows: [
    ...handlers('init_by_lua', HTTP, 'main', ALL),
    ...handlers('init_worker_by_lua', HTTP, 'main', ALL),
    ...handlers('exit_worker_by_lua', HTTP, 'main', NEW),
    ...handlers('server_rewrite_by_lua', HS, 'srv', NEW),
    ...handlers('rewrite_by_lua', HSLI, 'loc', ALL),
    ...handlers('access_by_lua', HSLI, 'loc', ALL),
    ...handlers('precontent_by_lua', HSLI, 'loc', NEW),
    ...handlers('content_by_lua', LI, 'loc', ALL, (cf) => cf.content('lua')),
    ...handlers('header_filter_by_lua', HSLI, 'loc', ALL),
    ...handlers('body_filter_by_lua', HSLI, 'loc', ALL),
    ...handlers('log_by_lua', HSLI, 'loc', ALL),
    ...handlers('balancer_by_lua', UPSTREAM, 'upstream', LUA_ONLY),
    ...handlers('ssl_client_hello_by_lua', HS, 'srv', LUA_ONLY),
    ...handlers('ssl_certificate_by_lua', HS, 'srv', LUA_ONLY),
    ...handlers('ssl_session_store_by_lua', HTTP, 'srv', LUA_ONLY),
    ...handlers('ssl_session_fetch_by_lua', HTTP, 'srv', LUA_ONLY),
    ...handlers('proxy_ssl_certificate_by_lua', LI, 'loc', LUA_ONLY),
    ...handlers('proxy_ssl_verify_by_lua', LI, 'loc', LUA_ONLY),
    loc('set_by_lua', SETTERS, '2+', setInline, { hidden: true }),
    loc('set_by_lua_block', SETTERS, '1', setInline, { hidden: true, block: 'lua' }),
    loc('set_by_lua_file', SETTERS, '2+', setFile, { hidden: true }),
    loc('set_by_js', SETTERS, '2+', setJs, { hidden: true }),

    main('lua_package_path', HTTP, '1', luaPath, { init: '' }),
    main('lua_package_cpath', HTTP, '1', luaPath, { init: '' }),
    main('lua_shared_dict', HTTP, '234', sharedDict, { field: 'shared_dicts', init: [] }),
    main('lua_load_resty_core', HTTP, 'flag', loadRestyCore, { init: true }),
    main('lua_thread_cache_max_entries', HTTP, '1', num(), { init: 1024 }),
    main('lua_max_running_timers', HTTP, '1', num(), { init: 256 }),
    main('lua_max_pending_timers', HTTP, '1', num(), { init: 1024 }),
    main('lua_capture_error_log', HTTP, '1', captureErrorLog),
    main('lua_sa_restart', HTTP, 'flag', flag(), { init: true }),
    main('lua_regex_cache_max_entries', HTTP, '1', num(), { init: 1024 }),
    main('lua_regex_match_limit', HTTP, '1', num(), { init: 0 }),
    main('lua_malloc_trim', HTTP, '1', num(), { init: 1000 }),
    main('lua_worker_thread_vm_pool_size', HTTP, '1', num(), { init: 10 }),
    main('rewrite_by_lua_no_postpone', HTTP, 'flag', flag(), { init: false }),
    main('access_by_lua_no_postpone', HTTP, 'flag', flag(), { init: false }),
    main('precontent_by_lua_no_postpone', HTTP, 'flag', flag(), { init: false }),
    main('lua_phase_capabilities', HTTP, '1', phaseCapabilities, { init: 'strict' }),
    main('lua_blocking_threshold', HTTP, '1', msec(), { init: 0 }),

    loc('lua_code_cache', HSLI, 'flag', codeCache, { init: true }),
    loc('lua_need_request_body', HSLI, 'flag', flag(), { init: false }),
    loc('lua_http10_buffering', HSLI, 'flag', flag(), { init: true }),
    loc('lua_use_default_type', HSLI, 'flag', flag(), { init: true }),
    loc('lua_check_client_abort', HSLI, 'flag', flag(), { init: false }),
    loc('lua_transform_underscores_in_response_headers', HSLI, 'flag', flag(), { init: true }),
    loc('lua_socket_log_errors', HSLI, 'flag', flag(), { init: true }),
    loc('lua_socket_connect_timeout', HSLI, '1', msec(), { init: 60_000 }),
    loc('lua_socket_send_timeout', HSLI, '1', msec(), { init: 60_000 }),
    loc('lua_socket_read_timeout', HSLI, '1', msec(), { init: 60_000 }),
    loc('lua_socket_keepalive_timeout', HSLI, '1', msec(), { init: 60_000 }),
    loc('lua_socket_send_lowat', HSLI, '1', size(), { init: 0 }),
    loc('lua_socket_buffer_size', HSLI, '1', size(), { init: 4096 }),
    loc('lua_socket_pool_size', HSLI, '1', num(), { init: 30 }),
    loc('lua_upstream_skip_openssl_default_verify', LI, 'flag', flag(), { init: false }),
  ],
};

export const luaSslModule: Module = {
  name: 'http_lua_ssl',
  group: 'lua_ssl',
  rows: [
    loc('lua_ssl_protocols', HSL, '1+', mask(...PROTOCOLS), {
      init: ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'],
    }),
    loc('lua_ssl_ciphers', HSL, '1', str(), { init: 'DEFAULT' }),
    loc('lua_ssl_verify_depth', HSL, '1', num(), { init: 1 }),
    loc('lua_ssl_certificate', HSL, '1', strings(confName), { init: [] }),
    loc('lua_ssl_certificate_key', HSL, '1', strings(confName), { init: [] }),
    loc('lua_ssl_trusted_certificate', HSL, '1', confPath(), { init: '' }),
    loc('lua_ssl_crl', HSL, '1', confPath(), { init: '' }),
    loc('lua_ssl_key_log', HSL, '1', confPath(), { init: '' }),
    loc('lua_ssl_conf_command', HSL, '2', pairs(), { init: [] }),
  ],
};
