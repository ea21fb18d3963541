import type { GeoPlan, MapPlan, SplitPlan, Variable, Where } from './plan.js';

const words = (text: string): string[] => text.trim().split(/\s+/);

/** Variables that every configuration has and that `set`, `map` and the like may not redefine. */
export const BUILTIN: ReadonlySet<string> = new Set([
  // ngx_http_variables.c
  ...words(`http_host http_user_agent http_referer http_via http_x_forwarded_for http_cookie content_length content_type
    host binary_remote_addr remote_addr remote_port proxy_protocol_addr proxy_protocol_port proxy_protocol_server_addr
    proxy_protocol_server_port server_addr server_port server_protocol scheme https request_port is_request_port
    request_uri uri document_uri request document_root realpath_root query_string is_args request_filename server_name
    request_method remote_user bytes_sent body_bytes_sent pipe request_completion request_body request_body_file
    request_length request_time request_id status sent_http_content_type sent_http_content_length sent_http_location
    sent_http_last_modified sent_http_connection sent_http_keep_alive sent_http_transfer_encoding
    sent_http_cache_control sent_http_link connection connection_requests connection_time nginx_version hostname pid
    msec time_iso8601 time_local tcpinfo_rtt tcpinfo_rttvar tcpinfo_snd_cwnd tcpinfo_rcv_space`),
  // upstream and proxy
  ...words(`upstream_addr upstream_status upstream_connect_time upstream_header_time upstream_response_time
    upstream_response_length upstream_bytes_received upstream_bytes_sent upstream_cache_status
    upstream_cache_last_modified upstream_cache_etag proxy_add_x_forwarded_for proxy_add_via`),
  // filters and others
  ...words(`gzip_ratio realip_remote_addr realip_remote_port connections_active connections_reading
    connections_writing connections_waiting http2 http3 limit_req_status limit_conn_status date_local date_gmt`),
  // memc-nginx-module
  'memc_flags_as_http_time',
  // echo-nginx-module
  ...words(`echo_timer_elapsed echo_request_method echo_cacheable_request_uri echo_request_uri
    echo_client_request_method echo_request_body echo_client_request_headers echo_it echo_incr
    echo_response_status`),
]);

/** Variables that exist from the start and that a configuration may set all the same. */
export const CHANGEABLE: ReadonlySet<string> = new Set([
  ...words('args limit_rate proxy_host proxy_port invalid_referer'),
  ...words(`ssl_protocol ssl_cipher ssl_ciphers ssl_curve ssl_curves ssl_sigalg ssl_sigalgs ssl_session_id
    ssl_session_reused ssl_early_data ssl_server_name ssl_alpn_protocol ssl_ech_status ssl_ech_outer_server_name
    ssl_client_cert ssl_client_raw_cert ssl_client_escaped_cert ssl_client_s_dn ssl_client_i_dn
    ssl_client_s_dn_legacy ssl_client_i_dn_legacy ssl_client_serial ssl_client_fingerprint ssl_client_verify
    ssl_client_v_start ssl_client_v_end ssl_client_v_remain ssl_client_sigalg`),
  ...words('memc_cmd memc_key memc_flags memc_exptime memc_value'),
]);

/** Families: any name that begins like this is a variable. */
export const PREFIXES: readonly string[] = words(
  'http_ sent_http_ sent_trailer_ cookie_ arg_ upstream_http_ upstream_trailer_ upstream_cookie_ proxy_protocol_tlv_',
);

type Definition = {
  kind: Variable['kind'];
  weak: boolean;
  map?: MapPlan;
  geo?: GeoPlan;
  split?: SplitPlan;
};

/** Kinds of which there is nothing to compute. */
const SLOTS: ReadonlySet<Variable['kind']> = new Set(['builtin', 'set', 'capture']);

/** The variables that a configuration mentions (each gets an index) and those that it defines. */
export class VariableTable {
  private readonly indexes = new Map<string, number>();
  private readonly mentioned: { name: string; where: Where }[] = [];
  private readonly definitions = new Map<string, Definition>();

  /** The index of a variable, which need not be defined yet. */
  index(name: string, where: Where): number {
    const key = name.toLowerCase();
    let index = this.indexes.get(key);
    if (index === undefined) {
      index = this.mentioned.length;
      this.indexes.set(key, index);
      this.mentioned.push({ name: key, where });
    }
    return index;
  }

  /**
   * Defines a variable; the sentence of an error when that is not allowed. A `weak` definition (of `set`) stands back
   * where nginx computes the variable.
   */
  define(
    name: string,
    definition: Partial<Definition> & { kind: Variable['kind'] },
  ): string | undefined {
    if (name === '') return 'invalid variable name "$"';
    const key = name.toLowerCase();
    if (BUILTIN.has(key)) return `the duplicate "${name}" variable`;
    const weak = definition.weak ?? false;
    const old = this.definitions.get(key);
    if (old === undefined) {
      this.definitions.set(key, { ...definition, weak });
    } else if (!weak) {
      this.definitions.set(key, { ...definition, weak });
    }
    return undefined;
  }

  /** Whether `set` writes a slot of its own. */
  has(name: string): boolean {
    return this.definitions.has(name.toLowerCase());
  }

  /** The plan's table; `unknown` is called with each variable that nothing defines. */
  plan(unknown: (name: string, where: Where) => never): Variable[] {
    const variables = this.mentioned.map(({ name, where }): Variable => {
      const definition = this.definitions.get(name);
      if (definition !== undefined && !definition.weak) {
        const { weak: _, ...rest } = definition;
        return { name, ...rest };
      }
      if (BUILTIN.has(name) || CHANGEABLE.has(name) || PREFIXES.some((p) => name.startsWith(p))) {
        return { name, kind: 'builtin' };
      }
      if (definition === undefined) return unknown(name, where);
      return { name, kind: definition.kind };
    });
    // What only Lua asks for, by `ngx.var`, is not mentioned.
    for (const [name, { weak, ...rest }] of this.definitions) {
      if (!weak && !this.indexes.has(name) && !SLOTS.has(rest.kind))
        variables.push({ name, ...rest });
    }
    return variables;
  }
}

/** Names of the named groups of a regular expression: each is a variable. */
export function captureNames(pattern: string): string[] {
  const names: string[] = [];
  const re =
    /\\[\s\S]|\[(?:\\[\s\S]|\[:\w+:\]|[^\]\\])+\]|\(\?(?:P?<([A-Za-z_]\w*)>|'([A-Za-z_]\w*)')/g;
  for (let m = re.exec(pattern); m !== null; m = re.exec(pattern)) {
    const name = m[1] ?? m[2];
    if (name !== undefined && !names.includes(name)) names.push(name);
  }
  return names;
}
