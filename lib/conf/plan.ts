/**
 * The Plan: what a configuration means, as plain immutable data.
 *
 * `conf/` makes it (from nginx.conf or from `createGateway` options), `native/bind/plan_reader.cc` copies it into
 * `native/engine/plan.h`. Nothing below this line parses configuration again.
 *
 * Conventions, the same on both sides:
 *  - Text is bytes: a configuration file is read as latin1, so every character of a string here is one byte.
 *  - A simple directive's value is a field with the directive's own name (`client_max_body_size`), after inheritance
 *    and defaults: flags are booleans, sizes are bytes, times are milliseconds, enumerations are their word.
 *  - A value that may hold variables is a `Complex`. A `Complex` that is a plain string has none.
 *  - Tables (`confs`, `variables`, `logs`, `formats`) are referred to by index.
 */

import type { Address } from './inet.js';
import type {
  Charset,
  EchoCommand,
  DavPlan,
  GzipPlan,
  LimitConnPlan,
  LimitReqPlan,
  CachePath,
  LimitZone,
  LuaSslPlan,
  MemcPlan,
  MirrorPlan,
  MoreHeaders,
  ProxyPlan,
  RealIpPlan,
  ReferersPlan,
} from './plan_modules.js';
import type { Variable } from './plan_variables.js';

export * from './plan_modules.js';
export * from './plan_variables.js';

/** Bytes of the configuration, one character each (latin1). */
export type Bytes = string;

/** One run-time part of a complex value: a variable by its index in `Plan.variables`, or a capture `$1`–`$9`. */
export type ComplexPart = Bytes | { readonly var: number } | { readonly cap: number };

/** A value with variables: its parts in order; a plain string when there are none. */
export type Complex = Bytes | readonly ComplexPart[];

/** A handler in Lua or JavaScript, for a `*_by_lua*` or `*_by_js` directive. */
export interface Handler {
  /** Source text of `*_by_lua` and `*_by_lua_block`. */
  readonly inline?: Bytes;
  /** Path of `*_by_lua_file`; relative ones are under the prefix. */
  readonly file?: Complex;
  /** Index into `Plan.js`, for handlers in JavaScript. */
  readonly js?: number;
  /** Lua's chunk name, such as `=content_by_lua(nginx.conf:12)`; for files `@PATH` is made at load. */
  readonly chunk: Bytes;
  /** Arguments of `set_by_lua*`. */
  readonly args?: readonly Complex[];
  /** Where the directive stands, for messages. */
  readonly where: Where;
}

/** A function that is a handler: an export of a module, or (from options) an index of the functions beside the Plan. */
export type JsHandler =
  | { readonly module: Bytes; readonly name: Bytes; readonly where: Where }
  | { readonly fn: number; readonly where: Where };

/** A place in the configuration. */
export interface Where {
  readonly file: Bytes;
  readonly line: number;
}

export interface Regex {
  readonly pattern: Bytes;
  readonly caseless: boolean;
  /** Where its directive stands: the native side compiles it, and reports what PCRE2 says. */
  readonly where: Where;
  /** Named groups, each with the variable that it sets. */
  readonly captures?: readonly { readonly name: Bytes; readonly var: number }[];
}

/** Where error log lines go. */
export interface LogTarget {
  readonly kind: 'file' | 'stderr' | 'syslog' | 'memory';
  /** Absolute path for files, the size for memory. */
  readonly path: Bytes;
  /** Which of the plan's syslog servers. */
  readonly syslog?: number;
}

/** Where `syslog:` sends. */
export interface SyslogServer {
  readonly address: Address;
  /** The numbers of RFC 3164; the severity is that of access logs. */
  readonly facility: number;
  readonly severity: number;
  readonly tag: Bytes;
  /** Of this host, for the header; empty: without. */
  readonly hostname: Bytes;
}

export type LogLevel = 'emerg' | 'alert' | 'crit' | 'error' | 'warn' | 'notice' | 'info' | 'debug';

export interface ErrorLog {
  readonly log: number;
  readonly level: LogLevel;
}

export interface Plan {
  readonly version: 1;
  /** Absolute, with a trailing slash (`-p`). */
  readonly prefix: Bytes;
  /** Directory of the main configuration file, with a trailing slash. */
  readonly confPrefix: Bytes;
  readonly confFile: Bytes;
  readonly process: ProcessPlan;
  readonly logs: readonly LogTarget[];
  readonly syslogs: readonly SyslogServer[];
  /** The functions of `*_by_js`, in the order that handlers name them by. */
  readonly js: readonly JsHandler[];
  readonly variables: readonly Variable[];
  readonly http?: HttpPlan;
}

/** Main context and `events {}`. */
export interface ProcessPlan {
  readonly daemon: boolean;
  readonly master_process: boolean;
  /** `auto` is resolved to the number of CPUs. */
  readonly worker_processes: number;
  readonly user?: { readonly name: Bytes; readonly group?: Bytes };
  readonly pid: Bytes;
  readonly error_log: readonly ErrorLog[];
  /** `env NAME;` keeps, `env NAME=VALUE;` sets. */
  readonly env: readonly { readonly name: Bytes; readonly value?: Bytes }[];
  readonly worker_connections: number;
  readonly worker_rlimit_nofile?: number;
  readonly worker_rlimit_core?: number;
  readonly worker_priority?: number;
  readonly worker_shutdown_timeout?: number;
  readonly worker_cpu_affinity?: readonly Bytes[];
  readonly working_directory?: Bytes;
  readonly timer_resolution?: number;
  readonly accept_mutex: boolean;
  readonly multi_accept: boolean;
  readonly thread_pools: readonly {
    readonly name: Bytes;
    readonly threads: number;
    readonly max_queue: number;
  }[];
}

export interface HttpPlan {
  readonly lua: LuaMainPlan;
  readonly formats: readonly LogFormat[];
  readonly limit_zones: readonly LimitZone[];
  readonly caches: readonly CachePath[];
  /** Of `ssl_session_cache shared:`. */
  readonly session_zones: readonly { readonly name: Bytes; readonly size: number }[];
  readonly upstreams: readonly UpstreamPlan[];
  /** Shared memory for their servers. */
  readonly upstream_zones: readonly {
    readonly name: Bytes;
    readonly size: number;
    readonly where: Where;
  }[];
  /** `upstream_zone`: of upstreams that are added at run time. */
  readonly dynamic_zone?: Bytes;
  /** `upstream_list`, for `set_hashed_upstream`. */
  readonly upstream_lists: readonly {
    readonly name: Bytes;
    readonly upstreams: readonly Bytes[];
  }[];
  readonly servers: readonly ServerPlan[];
  /** One per address that is listened on, with all its servers. */
  readonly listens: readonly ListenPlan[];
  /** Every location configuration: servers' own, locations', `if` and `limit_except` blocks'. */
  readonly confs: readonly LocationConf[];
  /** The `http {}` level configuration, for requests without a server (timers, init_worker). */
  readonly mainConf: number;
  /** server_rewrite_by_lua etc. are in the server's configuration. */
  readonly variables_hash_max_size: number;
  readonly server_names_hash_max_size: number;
}

/** `lua_*` directives of the http context, and what runs at process start and end. */
export interface LuaMainPlan {
  readonly lua_package_path: Bytes;
  readonly lua_package_cpath: Bytes;
  readonly lua_code_cache?: boolean;
  readonly init_by_lua?: Handler;
  readonly init_worker_by_lua?: Handler;
  readonly exit_worker_by_lua?: Handler;
  readonly shared_dicts: readonly {
    readonly name: Bytes;
    readonly size: number;
    readonly exact: boolean;
    /** Values of any type. */
    readonly any: boolean;
  }[];
  readonly lua_regex_cache_max_entries: number;
  readonly lua_regex_match_limit: number;
  readonly lua_max_pending_timers: number;
  readonly lua_max_running_timers: number;
  readonly lua_thread_cache_max_entries: number;
  readonly lua_worker_thread_vm_pool_size: number;
  readonly lua_capture_error_log?: number;
  readonly lua_malloc_trim: number;
  readonly lua_sa_restart: boolean;
  readonly lua_load_resty_core: boolean;
  readonly rewrite_by_lua_no_postpone: boolean;
  readonly access_by_lua_no_postpone: boolean;
  readonly precontent_by_lua_no_postpone: boolean;
  readonly lua_phase_capabilities: 'strict' | 'extended';
  readonly lua_blocking_threshold: number;
}

export interface LogFormat {
  readonly name: Bytes;
  readonly escape: 'default' | 'json' | 'none';
  readonly value: Complex;
}

export interface UpstreamPlan {
  readonly name: Bytes;
  readonly where: Where;
  readonly servers: readonly UpstreamServer[];
  readonly method: 'round_robin' | 'least_conn' | 'ip_hash' | 'hash' | 'random';
  readonly hash_key?: Complex;
  readonly hash_consistent?: boolean;
  /** `random two [least_conn]` */
  readonly random_two?: boolean;
  /** Idle connections that are kept, 0 for none. */
  readonly keepalive: number;
  /** Kept for the location that opened them only (the default without `keepalive`). */
  readonly keepalive_local: boolean;
  readonly keepalive_timeout: number;
  readonly keepalive_requests: number;
  readonly keepalive_time: number;
  readonly balancer_keepalive?: number;
  readonly resolver?: ResolverPlan;
  readonly resolver_timeout?: number;
  /** The zone that its servers are in, its own or that of `upstream_zone`. */
  readonly zone?: Bytes;
  /** Its only server stands in for none: `balancer_by_lua` chooses. */
  readonly placeholder: boolean;
  readonly balancer_by_lua?: Handler;
}

export interface UpstreamServer {
  /** `HOST:PORT` (a name is resolved at start), `[v6]:PORT`, `unix:/path`. */
  readonly address: Bytes;
  /** As configured: what `hash … consistent` is computed from. */
  readonly name: Bytes;
  readonly weight: number;
  readonly max_fails: number;
  readonly fail_timeout: number;
  readonly max_conns: number;
  readonly backup: boolean;
  readonly down: boolean;
  readonly resolve: boolean;
}

export interface ListenPlan {
  /** As nginx prints it: `0.0.0.0:80`, `[::]:80`, `unix:/path`. */
  readonly name: Bytes;
  readonly family: 'inet' | 'inet6' | 'unix';
  /** Numeric address, or the path of a unix socket. */
  readonly host: Bytes;
  readonly port: number;
  readonly wildcard: boolean;
  /** Has a socket of its own; otherwise its connections come in through the wildcard address of the same port. */
  readonly bind: boolean;
  readonly backlog: number;
  readonly reuseport: boolean;
  readonly ipv6only: boolean;
  readonly deferred: boolean;
  readonly rcvbuf: number;
  readonly sndbuf: number;
  readonly so_keepalive?: boolean;
  readonly keepidle?: number;
  readonly keepintvl?: number;
  readonly keepcnt?: number;
  readonly fastopen?: number;
  readonly ssl: boolean;
  readonly http2: boolean;
  readonly proxy_protocol: boolean;
  /** Servers by index, in order of the configuration. */
  readonly servers: readonly number[];
  readonly defaultServer: number;
}

export interface ServerPlan {
  readonly where: Where;
  readonly names: readonly ServerName[];
  /** Index of the server's own configuration; its `locations` are the server's. */
  readonly conf: number;
  /** Server-level rewrite module directives. */
  readonly rewrite: readonly RewriteOp[];
  readonly server_rewrite_by_lua?: Handler;
  readonly client_header_buffer_size: number;
  readonly large_client_header_buffers: { readonly number: number; readonly size: number };
  readonly client_header_timeout: number;
  readonly ignore_invalid_headers: boolean;
  readonly underscores_in_headers: boolean;
  readonly merge_slashes: boolean;
  readonly connection_pool_size: number;
  readonly request_pool_size: number;
  readonly max_headers: number;
  readonly http2: boolean;
  readonly http2_max_concurrent_streams: number;
  readonly http2_body_preread_size: number;
  readonly http2_recv_buffer_size: number;
  /** When a `listen` of this server has `ssl`. */
  readonly ssl?: SslPlan;
  readonly ssl_client_hello_by_lua?: Handler;
  readonly ssl_certificate_by_lua?: Handler;
  readonly ssl_session_store_by_lua?: Handler;
  readonly ssl_session_fetch_by_lua?: Handler;
}

/** The first name of a server is its `$server_name`. */
export interface ServerName {
  readonly name: Bytes;
  /** `x` (also ""), `*.x`, `x.*`, `~regex`; nginx's `.x` is `x` and `*.x` here. */
  readonly kind: 'exact' | 'head' | 'tail' | 'regex';
  readonly regex?: Regex;
}

/** TLS of a server: the `ssl_*` directives. Certificates may hold variables. */
export interface SslPlan {
  readonly ssl_certificate: readonly Complex[];
  readonly ssl_certificate_key: readonly Complex[];
  readonly [directive: string]: unknown;
}

/** Which location is asked for: nginx's search order is static tree, then regexes, then nested ones. */
export interface LocationTree {
  readonly static: readonly {
    readonly name: Bytes;
    readonly exact: boolean;
    readonly noregex: boolean;
    readonly conf: number;
  }[];
  readonly regex: readonly { readonly regex: Regex; readonly conf: number }[];
  readonly named: readonly { readonly name: Bytes; readonly conf: number }[];
}

/** A configuration that a request can have, after inheritance. */
export interface LocationConf {
  /** What stands behind `location`; "" for servers and `http`. */
  readonly name: Bytes;
  readonly where: Where;
  readonly kind: 'http' | 'server' | 'prefix' | 'exact' | 'regex' | 'named' | 'if' | 'limit_except';
  readonly noregex: boolean;
  /** `location /x/` with proxy_pass & co.: /x redirects to /x/. */
  readonly auto_redirect: boolean;
  readonly internal: boolean;
  readonly locations?: LocationTree;
  readonly limit_except?: { readonly methods: readonly Bytes[]; readonly conf: number };

  // the rewrite module
  readonly rewrite: readonly RewriteOp[];
  readonly rewrite_log: boolean;
  readonly uninitialized_variable_warn: boolean;

  // core
  readonly root: Complex;
  /** With `alias`, `root` is the alias and `alias_length` the length of the location's name (regex: -1). */
  readonly alias: boolean;
  readonly alias_length: number;
  readonly index: readonly Complex[];
  readonly default_type: Bytes;
  readonly types: Readonly<Record<Bytes, Bytes>>;
  readonly client_max_body_size: number;
  readonly client_body_buffer_size: number;
  readonly client_body_timeout: number;
  readonly client_body_in_file_only: 'off' | 'on' | 'clean';
  readonly client_body_in_single_buffer: boolean;
  readonly client_body_temp_path: Bytes;
  readonly send_timeout: number;
  readonly keepalive_timeout: number;
  readonly keepalive_min_timeout: number;
  /** The `Keep-Alive` header's value in ms; 0: no header. */
  readonly keepalive_header: number;
  readonly keepalive_requests: number;
  readonly keepalive_time: number;
  readonly keepalive_disable: readonly Bytes[];
  readonly lingering_close: 'off' | 'on' | 'always';
  readonly lingering_time: number;
  readonly lingering_timeout: number;
  readonly reset_timedout_connection: boolean;
  readonly tcp_nodelay: boolean;
  readonly tcp_nopush: boolean;
  readonly sendfile: boolean;
  readonly postpone_output: number;
  readonly output_buffers: { readonly number: number; readonly size: number };
  readonly sendfile_max_chunk: number;
  readonly http2_chunk_size: number;
  /** Bytes per second in digits, or a value with variables (a size); "" for no limit. */
  readonly limit_rate: Complex;
  readonly limit_rate_after: Complex;
  readonly chunked_transfer_encoding: boolean;
  readonly etag: boolean;
  readonly if_modified_since: 'off' | 'exact' | 'before';
  readonly max_ranges: number;
  readonly server_tokens: 'on' | 'off' | 'build';
  readonly server_name_in_redirect: boolean;
  readonly port_in_redirect: boolean;
  readonly absolute_redirect: boolean;
  readonly msie_padding: boolean;
  readonly satisfy: 'all' | 'any';
  readonly error_page: readonly ErrorPage[];
  readonly recursive_error_pages: boolean;
  readonly log_not_found: boolean;
  readonly log_subrequest: boolean;
  readonly error_log: readonly ErrorLog[];
  readonly access_log: readonly AccessLog[];
  readonly try_files?: {
    readonly files: readonly Complex[];
    readonly code?: number;
    readonly target?: Complex;
  };
  readonly resolver?: ResolverPlan;
  readonly resolver_timeout: number;
  readonly subrequest_output_buffer_size: number;

  // headers, access, autoindex, stub_status…
  readonly add_header: readonly {
    readonly name: Bytes;
    readonly value: Complex;
    readonly always: boolean;
  }[];
  readonly add_trailer: readonly {
    readonly name: Bytes;
    readonly value: Complex;
    readonly always: boolean;
  }[];
  /** `time` is in seconds; with `value`, that is parsed for each request (`kind` is then `access` or `modified`). */
  readonly expires?: {
    readonly kind: 'off' | 'epoch' | 'max' | 'access' | 'modified' | 'daily';
    readonly time: number;
    readonly value?: Complex;
  };
  /** `cidr` is a network, `all` or `unix:`. */
  readonly access: readonly { readonly allow: boolean; readonly cidr: Bytes }[];
  readonly auth_basic?: Complex;
  readonly auth_basic_user_file?: Complex;
  readonly autoindex: boolean;
  readonly autoindex_exact_size: boolean;
  readonly autoindex_localtime: boolean;
  readonly autoindex_format: 'html' | 'json' | 'jsonp' | 'xml';

  // lua-nginx-module
  readonly rewrite_by_lua?: Handler;
  readonly access_by_lua?: Handler;
  readonly precontent_by_lua?: Handler;
  readonly content_by_lua?: Handler;
  readonly header_filter_by_lua?: Handler;
  readonly body_filter_by_lua?: Handler;
  readonly log_by_lua?: Handler;
  readonly lua_code_cache: boolean;
  readonly lua_need_request_body: boolean;
  readonly lua_http10_buffering: boolean;
  readonly lua_use_default_type: boolean;
  readonly lua_check_client_abort: boolean;
  readonly lua_transform_underscores_in_response_headers: boolean;
  readonly lua_socket_log_errors: boolean;
  readonly lua_socket_connect_timeout: number;
  readonly lua_socket_send_timeout: number;
  readonly lua_socket_read_timeout: number;
  readonly lua_socket_keepalive_timeout: number;
  readonly lua_socket_send_lowat: number;
  readonly lua_socket_buffer_size: number;
  readonly lua_socket_pool_size: number;
  readonly lua_ssl: LuaSslPlan;
  readonly lua_upstream_skip_openssl_default_verify: boolean;
  readonly proxy_ssl_certificate_by_lua?: Handler;
  readonly proxy_ssl_verify_by_lua?: Handler;

  // echo, headers-more and set-misc
  /** What the content handler does, in order. */
  readonly echo_cmds?: readonly EchoCommand[];
  readonly echo_before_body?: readonly EchoCommand[];
  readonly echo_after_body?: readonly EchoCommand[];
  readonly echo_status: number;
  /** All levels' commands, outer levels first. */
  readonly more_headers?: readonly MoreHeaders[];
  readonly set_base32_padding: boolean;
  readonly set_base32_alphabet: Bytes;

  // proxy and memc, where this location passes requests to them
  readonly proxy?: ProxyPlan;
  readonly memc?: MemcPlan;

  // filters
  readonly gzip?: GzipPlan;
  readonly valid_referers?: ReferersPlan;
  readonly dav?: DavPlan;
  /** "" is `off` */
  readonly real_ip?: RealIpPlan;
  readonly limit_req?: LimitReqPlan;
  readonly limit_conn?: LimitConnPlan;
  readonly mirror?: MirrorPlan;
  readonly auth_request?: Complex;
  readonly auth_request_set: readonly { readonly var: number; readonly value: Complex }[];
  readonly sub_filter?: readonly { readonly match: Complex; readonly replacement: Complex }[];
  readonly sub_filter_types: readonly Bytes[];
  readonly sub_filter_once: boolean;
  readonly sub_filter_last_modified: boolean;
  /** "" is `off`. */
  readonly charset?: Charset;
  readonly source_charset?: Charset;
  readonly override_charset: boolean;
  readonly charset_types: readonly Bytes[];

  /** The content handler that a directive has set (`content_by_lua`'s is found by its own field). */
  readonly content?: ContentHandler;
  /** Fields of further modules (echo, headers-more, proxy, gzip…), by the rule of directive names. */
  readonly [module: string]: unknown;
}

export type ContentHandler =
  | { readonly kind: 'lua' }
  | { readonly kind: 'proxy' }
  | { readonly kind: 'echo' }
  | { readonly kind: 'memc' }
  | { readonly kind: 'empty_gif' }
  | { readonly kind: 'stub_status' };

export interface ErrorPage {
  readonly codes: readonly number[];
  /** `=CODE` gives CODE, `=` gives 0, none gives -1. */
  readonly overwrite: number;
  readonly target: Complex;
}

export interface AccessLog {
  readonly path: Complex;
  readonly format: number;
  readonly condition?: Complex;
  readonly buffer?: number;
  readonly flush?: number;
  readonly gzip?: number;
  /** Which of the plan's syslog servers; `path` is empty then. */
  readonly syslog?: number;
}

export interface ResolverPlan {
  readonly servers: readonly { readonly address: Bytes; readonly port: number }[];
  readonly valid?: number;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  /** `local=on`: the servers of /etc/resolv.conf. */
  readonly local: boolean;
}

/** One instruction of the rewrite phase, run in order. */
export type RewriteOp =
  | { readonly op: 'set'; readonly var: number; readonly value: Complex }
  | { readonly op: 'set_by_lua'; readonly var: number; readonly handler: Handler }
  /** set-misc and other `ndk` setters: `fn` is the directive's name, such as `set_escape_uri`. */
  | {
      readonly op: 'set_filter';
      readonly fn: Bytes;
      readonly var: number;
      readonly args: readonly Complex[];
    }
  /** `conf`: the block's own configuration, taken when the condition holds (location context only). */
  | {
      readonly op: 'if';
      readonly cond: Condition;
      readonly then: readonly RewriteOp[];
      readonly conf?: number;
    }
  | {
      readonly op: 'rewrite';
      readonly regex: Regex;
      readonly replacement: Complex;
      /** The request's arguments are appended (no `?` at the end of the replacement). */
      readonly add_args: boolean;
      /** http://, https:// or $scheme in front: a redirect even without a flag. */
      readonly absolute: boolean;
      readonly flag: '' | 'last' | 'break' | 'redirect' | 'permanent';
    }
  | { readonly op: 'return'; readonly status: number; readonly text?: Complex }
  | { readonly op: 'break' };

export type Condition =
  | { readonly kind: 'var'; readonly var: number }
  | {
      readonly kind: 'equal';
      readonly var: number;
      readonly value: Complex;
      readonly negate: boolean;
    }
  | {
      readonly kind: 'match';
      readonly var: number;
      readonly regex: Regex;
      readonly negate: boolean;
    }
  | {
      readonly kind: 'file' | 'dir' | 'exists' | 'exec';
      readonly path: Complex;
      readonly negate: boolean;
    };
