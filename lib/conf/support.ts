/**
 * Directives that the front end knows and the native side does not do yet: they are refused at load, by name. Take a name
 * out when the native side has it.
 *
 * (Directives that neither side knows yet are rows with `later`; those without meaning here are rows with `ignored`.)
 * Settings that only tune one of these directives (`proxy_read_timeout`, `gzip_types`…) need not be here: without it
 * they do nothing in nginx either, and configurations set them for all servers at the top.
 */
export const NATIVE_PENDING: ReadonlySet<string> = new Set(
  `
  upstream balancer_by_lua_block balancer_by_lua_file
  proxy_pass memc_pass auth_request gzip sub_filter charset autoindex stub_status empty_gif
  proxy_ssl_certificate_by_lua_block proxy_ssl_certificate_by_lua_file
  proxy_ssl_verify_by_lua_block proxy_ssl_verify_by_lua_file

  ssl_certificate ssl_certificate_key ssl_reject_handshake http2
  ssl_client_hello_by_lua_block ssl_client_hello_by_lua_file ssl_certificate_by_lua_block ssl_certificate_by_lua_file
  ssl_session_store_by_lua_block ssl_session_store_by_lua_file
  ssl_session_fetch_by_lua_block ssl_session_fetch_by_lua_file
  `
    .trim()
    .split(/\s+/),
);

/** The same for parts of directives: `NAME PART`. */
export const PENDING_PARTS: ReadonlySet<string> = new Set([
  'listen ssl',
  'listen http2',
  'listen proxy_protocol',
  'access_log syslog:',
  'access_log gzip',
  'error_log syslog:',
  'geo proxy',
]);
