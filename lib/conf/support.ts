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
  autoindex
  `
    .trim()
    .split(/\s+/),
);

/** The same for parts of directives: `NAME PART`. */
export const PENDING_PARTS: ReadonlySet<string> = new Set([
  'access_log gzip',
  'proxy_http_version 2',
  'proxy_bind transparent',
  'grpc_ssl_certificate with variables',
  'grpc_ssl_certificate_key with variables',
  'grpc_bind transparent',
]);
