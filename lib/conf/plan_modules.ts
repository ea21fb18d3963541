import type { Bytes, Complex, Regex, Where } from './plan.js';

/** Parts of a `LocationConf` that belong to one module: echo, headers-more, proxy, memc, gzip, WebDAV, TLS of cosockets. */

/** One command of echo-nginx-module; `op` is the directive's name. */
export interface EchoCommand {
  readonly op: Bytes;
  readonly args: readonly Complex[];
}

/** One `more_*` directive. */
export interface MoreHeaders {
  readonly dir: 'set' | 'clear';
  readonly target: 'out' | 'in';
  /** The value "" clears. With `wildcard` the name ends in `*`. */
  readonly headers: readonly {
    readonly name: Bytes;
    readonly wildcard: boolean;
    readonly value: Complex;
  }[];
  /** When there are any, only for these statuses and content types. */
  readonly statuses: readonly number[];
  readonly types: readonly Bytes[];
  /** `-a`: added to what is there; `-r`: only where the header is there already. */
  readonly append: boolean;
  readonly replace: boolean;
}

/** Where to pass requests to: with variables only `url` is there. */
export interface PassTarget {
  /** The whole argument. */
  readonly url: Complex;
  readonly ssl?: boolean;
  /** An upstream's name, a host's, a numeric address (`[v6]`) or, of family `unix`, a path. */
  readonly host?: Bytes;
  readonly port?: number;
  /** As written, without its colon. */
  readonly portText?: Bytes;
  readonly noPort?: boolean;
  readonly family?: 'inet' | 'inet6' | 'unix';
  /** What replaces the part of the URI that matched `location`; "" for none: the URI is passed as it came. */
  readonly uri?: Bytes;
  readonly location?: Bytes;
}

/** A pattern of `proxy_redirect` or `proxy_cookie_*`, and what takes its place. */
export type ProxyRewrite =
  | { readonly pattern: Complex; readonly replacement: Complex }
  | { readonly regex: Regex; readonly replacement: Complex };

/** What `proxy_*` and `grpc_*` both have. */
interface PassFields {
  readonly bind?: { readonly address: Complex; readonly transparent: boolean };
  readonly socket_keepalive: boolean;
  readonly connect_timeout: number;
  readonly send_timeout: number;
  readonly read_timeout: number;
  readonly intercept_errors: boolean;
  /** As configured; the native side adds nginx's defaults for those that are not named. */
  readonly set_header: readonly { readonly name: Bytes; readonly value: Complex }[];
  readonly buffer_size: number;
  readonly next_upstream: readonly Bytes[];
  readonly next_upstream_tries: number;
  readonly next_upstream_timeout: number;
  readonly pass_header: readonly Bytes[];
  readonly hide_header: readonly Bytes[];
  readonly ignore_headers: readonly Bytes[];
  readonly ssl_session_reuse: boolean;
  readonly ssl_protocols: readonly Bytes[];
  readonly ssl_ciphers: Bytes;
  readonly ssl_name?: Complex;
  readonly ssl_server_name: boolean;
  readonly ssl_verify: boolean;
  readonly ssl_verify_depth: number;
  readonly ssl_trusted_certificate: Bytes;
  readonly ssl_crl: Bytes;
  readonly ssl_certificate?: Complex;
  readonly ssl_certificate_key?: Complex;
  readonly ssl_password_file?: Bytes;
  readonly ssl_conf_command: readonly (readonly [Bytes, Bytes])[];
}
type Pass<Kind extends string> = {
  readonly [Name in keyof PassFields as `${Kind}_${Name}`]: PassFields[Name];
};

/** The `grpc_*` directives of a location with `grpc_pass`. */
export interface GrpcPlan extends Pass<'grpc'> {
  readonly grpc_pass: PassTarget;
}

/** The `proxy_*` directives of a location with `proxy_pass`. */
export interface ProxyPlan extends Pass<'proxy'> {
  readonly proxy_pass: PassTarget;
  readonly proxy_redirect?: readonly ProxyRewrite[] | 'off';
  readonly proxy_cookie_domain?: readonly ProxyRewrite[] | 'off';
  readonly proxy_cookie_path?: readonly ProxyRewrite[] | 'off';
  readonly proxy_cookie_flags?:
    | readonly {
        readonly name?: Complex;
        readonly regex?: Regex;
        readonly flags: readonly Complex[];
      }[]
    | 'off';
  readonly proxy_buffering: boolean;
  readonly proxy_request_buffering: boolean;
  readonly proxy_ignore_client_abort: boolean;
  readonly proxy_set_body?: Complex;
  readonly proxy_method?: Complex;
  readonly proxy_pass_request_headers: boolean;
  readonly proxy_pass_request_body: boolean;
  readonly proxy_pass_trailers: boolean;
  readonly proxy_buffers: { readonly number: number; readonly size: number };
  readonly proxy_busy_buffers_size?: number;
  readonly proxy_force_ranges: boolean;
  readonly proxy_limit_rate: Complex;
  readonly proxy_temp_path?: Bytes;
  readonly proxy_max_temp_file_size: number;
  readonly proxy_temp_file_write_size?: number;
  /** The zone; '' is off. */
  readonly proxy_cache?: Complex;
  readonly proxy_cache_key?: Complex;
  readonly proxy_cache_bypass: readonly Complex[];
  readonly proxy_no_cache: readonly Complex[];
  readonly proxy_cache_valid: readonly CacheValid[];
  readonly proxy_cache_min_uses: number;
  readonly proxy_cache_max_range_offset?: number;
  readonly proxy_cache_use_stale: readonly Bytes[];
  readonly proxy_cache_methods: readonly Bytes[];
  readonly proxy_cache_lock: boolean;
  readonly proxy_cache_lock_timeout: number;
  readonly proxy_cache_lock_age: number;
  readonly proxy_cache_revalidate: boolean;
  readonly proxy_cache_convert_head: boolean;
  readonly proxy_cache_background_update: boolean;
  readonly proxy_http_version: '1.0' | '1.1' | '2';
}

export interface MemcPlan {
  readonly memc_pass: Omit<PassTarget, 'ssl' | 'uri' | 'location'>;
  readonly memc_connect_timeout: number;
  readonly memc_send_timeout: number;
  readonly memc_read_timeout: number;
  readonly memc_buffer_size: number;
  readonly memc_ignore_client_abort: boolean;
  readonly memc_next_upstream: readonly Bytes[];
  readonly memc_flags_to_last_modified: boolean;
  readonly memc_cmds_allowed: readonly Bytes[];
}

/** A charset's name, or the variable that has it. */
export type Charset = Bytes | { readonly var: number };

/** Where `gzip`, `gzip_static` or `gunzip` is on. */
export interface GzipPlan {
  readonly gzip_on: boolean;
  readonly gzip_static: 'off' | 'on' | 'always';
  readonly gzip_vary: boolean;
  /** Content types in lower case; `*` is all. */
  readonly gzip_types: readonly Bytes[];
  readonly gzip_comp_level: number;
  readonly gzip_min_length: number;
  /** zlib's windowBits, from `gzip_window`. */
  readonly gzip_window: number;
  /** zlib's memLevel, from `gzip_hash`. */
  readonly gzip_hash: number;
  readonly gzip_buffers: { readonly number: number; readonly size: number };
  readonly gzip_no_buffer: boolean;
  readonly gunzip: boolean;
  readonly gunzip_buffers: { readonly number: number; readonly size: number };
  readonly gzip_http_version: '1.0' | '1.1';
  readonly gzip_proxied: readonly Bytes[];
  /** Regular expressions for User-Agent, and `msie6`. */
  readonly gzip_disable: readonly (Regex | 'msie6')[];
}

/** The `lua_ssl_*` directives: TLS of cosockets. */
export interface LuaSslPlan {
  readonly lua_ssl_protocols: readonly Bytes[];
  readonly lua_ssl_ciphers: Bytes;
  readonly lua_ssl_verify_depth: number;
  readonly lua_ssl_certificate: readonly Bytes[];
  readonly lua_ssl_certificate_key: readonly Bytes[];
  readonly lua_ssl_trusted_certificate: Bytes;
  readonly lua_ssl_crl: Bytes;
  readonly lua_ssl_key_log: Bytes;
  readonly lua_ssl_conf_command: readonly (readonly [Bytes, Bytes])[];
}

/** `valid_referers`. */
export interface ReferersPlan {
  /** Requests without a Referer are valid; those whose Referer has no `http://`. */
  readonly none: boolean;
  readonly blocked: boolean;
  /** Hosts in lower case: `example.com`, `*.example.com`, `example.*`; with a `uri`, only what begins with it. */
  readonly names: readonly { readonly name: Bytes; readonly uri: Bytes }[];
  /** Against what follows the scheme. */
  readonly regex: readonly Regex[];
  /** Against the host: the server's own names. */
  readonly server_regex?: readonly Regex[];
}

/** Where files may be changed by WebDAV's methods. */
export interface DavPlan {
  readonly dav_methods: readonly ('PUT' | 'DELETE' | 'MKCOL' | 'COPY' | 'MOVE')[];
  readonly create_full_put_path: boolean;
  readonly min_delete_depth: number;
  /** Mode bits of new files; directories get x where they have r. */
  readonly dav_access: number;
}

/** `proxy_cache_path`: times in milliseconds, sizes in bytes; a `max_size` of 0 is none. */
export interface CachePath {
  readonly name: Bytes;
  readonly size: number;
  readonly path: Bytes;
  readonly levels: readonly number[];
  readonly use_temp_path: boolean;
  readonly inactive: number;
  readonly max_size: number;
  readonly min_free: number;
  readonly loader_files: number;
  readonly loader_sleep: number;
  readonly loader_threshold: number;
  readonly manager_files: number;
  readonly manager_sleep: number;
  readonly manager_threshold: number;
  readonly where: Where;
}

/** How long an answer is kept, in milliseconds; a status of 0 is any. */
export interface CacheValid {
  readonly status: number;
  readonly time: number;
}

/** A zone of `limit_req_zone` or `limit_conn_zone`. */
export interface LimitZone {
  readonly name: Bytes;
  readonly size: number;
  readonly use: 'limit_req' | 'limit_conn';
  readonly key: Complex;
  readonly key_text: Bytes;
  /** Of `limit_req`: thousandths of a request per second. */
  readonly rate: number;
}

/** One `limit_req` or `limit_conn`; burst and delay in thousandths of a request. */
export interface LimitRule {
  /** The place in `limit_zones`. */
  readonly zone: number;
  readonly burst: number;
  readonly delay: number;
  readonly connections: number;
}

type LimitLevel = 'info' | 'notice' | 'warn' | 'error';

export interface LimitReqPlan {
  readonly limit_req_rules: readonly LimitRule[];
  readonly limit_req_log_level: LimitLevel;
  readonly limit_req_status: number;
  readonly limit_req_dry_run: boolean;
}

export interface LimitConnPlan {
  readonly limit_conn_rules: readonly LimitRule[];
  readonly limit_conn_log_level: LimitLevel;
  readonly limit_conn_status: number;
  readonly limit_conn_dry_run: boolean;
}

export interface RealIpPlan {
  /** Networks, and `unix:`. */
  readonly set_real_ip_from: readonly Bytes[];
  /** A header's name in lower case, or `proxy_protocol`. */
  readonly real_ip_header: Bytes;
  readonly real_ip_recursive: boolean;
}

export interface MirrorPlan {
  readonly mirror_uris: readonly Bytes[];
  readonly mirror_request_body: boolean;
}
