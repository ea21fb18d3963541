/** What a location's part of a Plan holds: the search for it, its configuration, its rewrite program. */

import type { Bytes, Complex, Handler, Where, Regex, ErrorLog, ResolverPlan } from './plan.js';
import type {
  Charset,
  EchoCommand,
  DavPlan,
  GzipPlan,
  LimitConnPlan,
  LimitReqPlan,
  GrpcPlan,
  LuaSslPlan,
  MemcPlan,
  MirrorPlan,
  MoreHeaders,
  ProxyPlan,
  RealIpPlan,
  ReferersPlan,
} from './plan_modules.js';

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

  // proxy, grpc and memc, where this location passes requests to them
  readonly proxy?: ProxyPlan;
  readonly grpc?: GrpcPlan;
  readonly memc?: MemcPlan;

  // filters
  readonly gzip?: GzipPlan;
  readonly valid_referers?: ReferersPlan;
  readonly dav?: DavPlan;
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
  | { readonly kind: 'grpc' }
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
