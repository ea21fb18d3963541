// What lua-resty-openssl wants of nginx (its lua-resty-openssl-aux-module): OpenSSL's objects
// behind a request and a cosocket. Without these functions it looks them up at offsets of nginx's
// structures, and gives up on ours.
#include "ngx/ssl_ffi.h"

using namespace moonphase;
using namespace moonphase::ngx;

namespace {

int give(void* object, void** out) {
  *out = object;
  return object ? int{kOk} : int{kError};
}

SSL_CTX* context_of(const SSL* ssl) { return ssl ? SSL_get_SSL_CTX(ssl) : nullptr; }

}  // namespace

MOONPHASE_FFI int ngx_http_lua_resty_openssl_aux_get_request_ssl(Request* r, void** out) {
  char* why;
  return give(ssl_of(r, &why), out);
}

MOONPHASE_FFI int ngx_http_lua_resty_openssl_aux_get_request_ssl_ctx(Request* r, void** out) {
  char* why;
  return give(context_of(ssl_of(r, &why)), out);
}

MOONPHASE_FFI int ngx_http_lua_resty_openssl_aux_get_socket_ssl(engine::StreamSocket* u,
                                                                void** out) {
  char* why;
  return give(ssl_of(u, &why), out);
}

MOONPHASE_FFI int ngx_http_lua_resty_openssl_aux_get_socket_ssl_ctx(engine::StreamSocket* u,
                                                                    void** out) {
  char* why;
  return give(context_of(ssl_of(u, &why)), out);
}
