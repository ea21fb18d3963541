// ngx.proxyssl, ngx.ssl.proxysslcert, ngx.ssl.proxysslverify: the handshake with the server that a
// request is passed on to.
#include "engine/upstream/tls_lua.h"
#include "ngx/ssl_ffi.h"

using namespace moonphase;
using namespace moonphase::ngx;

namespace {

SSL* server_ssl(const Request* r, char** err) {
  const engine::Upstream* u = r ? engine::Upstream::of(r) : nullptr;
  if (!u) {
    ffi_error(err, "bad request");
    return nullptr;
  }
  if (!u->tls()) {
    ffi_error(err, "bad upstream connection");
    return nullptr;
  }
  return u->tls()->ssl();
}

net::TlsQuestions* questions_of(const Request* r, char** err) {
  if (!server_ssl(r, err)) return nullptr;
  engine::TlsByLua* asked = engine::Upstream::of(r)->tls_lua;
  if (!asked) ffi_error(err, "bad lua context");
  return asked ? &asked->questions : nullptr;
}

}  // namespace

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_get_tls1_version(Request* r, char** err) {
  const SSL* ssl = server_ssl(r, err);
  return ssl ? SSL_version(ssl) : int{kError};
}

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_clear_certs(Request* r, char** err) {
  SSL* ssl = server_ssl(r, err);
  if (!ssl) return kError;
  SSL_certs_clear(ssl);
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_set_der_certificate(Request* r, const char* data,
                                                                 size_t len, char** err) {
  SSL* ssl = server_ssl(r, err);
  return ssl ? use_der_chain(ssl, data, len, err) : int{kError};
}

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_set_der_private_key(Request* r, const char* data,
                                                                 size_t len, char** err) {
  SSL* ssl = server_ssl(r, err);
  return ssl ? use_der_key(ssl, data, len, err) : int{kError};
}

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_set_cert(Request* r, void* cdata, char** err) {
  SSL* ssl = server_ssl(r, err);
  return ssl ? use_parsed_chain(ssl, cdata, err) : int{kError};
}

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_set_priv_key(Request* r, void* cdata, char** err) {
  SSL* ssl = server_ssl(r, err);
  return ssl ? use_parsed_key(ssl, cdata, err) : int{kError};
}

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_set_verify_result(Request* r, int verify_result,
                                                               char** err) {
  net::TlsQuestions* q = questions_of(r, err);
  if (!q) return kError;
  q->verify_error = verify_result;
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_get_verify_result(Request* r, char** err) {
  const net::TlsQuestions* q = questions_of(r, err);
  return q ? q->verify_error : int{kError};
}

MOONPHASE_FFI void* ngx_http_lua_ffi_proxy_ssl_get_verify_cert(Request* r, char** err) {
  const net::TlsQuestions* q = questions_of(r, err);
  if (!q) return nullptr;
  if (q->peer && X509_up_ref(q->peer)) return q->peer;
  ffi_error(err, "get verify result failed");
  return nullptr;
}

MOONPHASE_FFI void ngx_http_lua_ffi_proxy_ssl_free_verify_cert(void* cdata) {
  X509_free(static_cast<X509*>(cdata));
}
