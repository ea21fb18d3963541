// ngx.proxyssl, ngx.ssl.proxysslcert and ngx.ssl.proxysslverify: the handshake with the server that
// a request is passed on to.
#include "engine/upstream.h"
#include "ngx/ssl_ffi.h"

using namespace moonphase;
using namespace moonphase::ngx;

namespace {

SSL* ssl_upstream(const Request* r, char** err) {
  const engine::Upstream* u = r ? engine::Upstream::of(r) : nullptr;
  if (u && u->tls()) return u->tls()->ssl();
  ffi_error(err, u ? "bad upstream connection" : "bad request");
  return nullptr;
}

// What a verify handler has before it.
engine::UpstreamTlsLua* verification(const Request* r, char** err) {
  if (!ssl_upstream(r, err)) return nullptr;
  engine::UpstreamTlsLua* t = engine::Upstream::of(r)->tls_lua;
  if (!t) ffi_error(err, "bad lua context");
  return t;
}

}  // namespace

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_get_tls1_version(Request* r, char** err) {
  SSL* ssl = ssl_upstream(r, err);
  return ssl ? SSL_version(ssl) : int{kError};
}

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_clear_certs(Request* r, char** err) {
  SSL* ssl = ssl_upstream(r, err);
  if (!ssl) return kError;
  SSL_certs_clear(ssl);
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_set_der_certificate(Request* r, const char* data,
                                                                 size_t len, char** err) {
  SSL* ssl = ssl_upstream(r, err);
  if (!ssl) return kError;
  const Chain509 chain = read_der_chain(data, len, "d2i_X509_bio() failed", err);
  return chain ? use_chain(ssl, chain.get(), "SSL_add0_chain_cert() failed", err) : int{kError};
}

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_set_der_private_key(Request* r, const char* data,
                                                                 size_t len, char** err) {
  SSL* ssl = ssl_upstream(r, err);
  if (!ssl) return kError;
  const Key key = read_der_key(data, len, err);
  return key ? use_key(ssl, key.get(), err) : int{kError};
}

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_set_cert(Request* r, void* chain, char** err) {
  SSL* ssl = ssl_upstream(r, err);
  if (!ssl) return kError;
  return use_chain(ssl, static_cast<STACK_OF(X509)*>(chain), "SSL_add1_chain_cert() failed", err);
}

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_set_priv_key(Request* r, void* key, char** err) {
  SSL* ssl = ssl_upstream(r, err);
  if (!ssl) return kError;
  if (!key) return ffi_error(err, "invalid private key");
  return use_key(ssl, static_cast<EVP_PKEY*>(key), err);
}

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_set_verify_result(Request* r, int result, char** err) {
  engine::UpstreamTlsLua* t = verification(r, err);
  if (!t) return kError;
  t->verify_result = result;
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_proxy_ssl_get_verify_result(Request* r, char** err) {
  const engine::UpstreamTlsLua* t = verification(r, err);
  return t ? static_cast<int>(t->verify_result) : int{kError};
}

MOONPHASE_FFI void* ngx_http_lua_ffi_proxy_ssl_get_verify_cert(Request* r, char** err) {
  const engine::UpstreamTlsLua* t = verification(r, err);
  if (!t) return nullptr;
  auto* x = static_cast<X509*>(t->verified);
  if (x && X509_up_ref(x)) return x;
  ffi_error(err, "get verify result failed");
  return nullptr;
}

MOONPHASE_FFI void ngx_http_lua_ffi_proxy_ssl_free_verify_cert(void* cdata) {
  X509_free(static_cast<X509*>(cdata));
}
