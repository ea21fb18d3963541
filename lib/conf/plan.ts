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
import type { LocationConf, RewriteOp } from './plan_location.js';
import type { CachePath, LimitZone } from './plan_modules.js';
import type { Variable } from './plan_variables.js';

export * from './plan_location.js';
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

export interface ResolverPlan {
  readonly servers: readonly { readonly address: Bytes; readonly port: number }[];
  readonly valid?: number;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  /** `local=on`: the servers of /etc/resolv.conf. */
  readonly local: boolean;
}
