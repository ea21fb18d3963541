// ngx.ssl.session: sessions that Lua keeps.
#include "net/tls_hello.h"
#include "ngx/ssl_ffi.h"

using namespace moonphase;
using namespace moonphase::ngx;

namespace {

// Null: *err says why.
engine::Handshake* handshake(Request* r, char** err) {
  if (!ssl_of(r, err)) return nullptr;
  engine::Handshake* h = engine::handshake_of(r);
  if (!h) ffi_error(err, "bad lua context");
  return h;
}

engine::Handshake* with_session(Request* r, char** err) {
  engine::Handshake* h = handshake(r, err);
  if (h && h->session) return h;
  if (h) ffi_error(err, "bad session in lua context");
  return nullptr;
}

}  // namespace

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_set_serialized_session(Request* r, const unsigned char* buf,
                                                              int len, char** err) {
  if (!ssl_of(r, err)) return kError;
  if (len <= 0) return ffi_error(err, "invalid session length");
  ERR_clear_error();
  SSL_SESSION* session = d2i_SSL_SESSION(nullptr, &buf, len);
  if (!session) return ssl_error(err, "failed to de-serialize session");
  engine::Handshake* h = engine::handshake_of(r);
  if (!h) {
    SSL_SESSION_free(session);
    return ffi_error(err, "bad lua context");
  }
  net::free_session_if(h->session, h->owns_session);
  h->session = session;
  h->owns_session = true;
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_get_serialized_session_size(Request* r, char** err) {
  const engine::Handshake* h = with_session(r, err);
  if (!h) return kError;
  const int n = i2d_SSL_SESSION(h->session, nullptr);
  return n ? n : ssl_error(err, "i2d_SSL_SESSION() failed");
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_get_serialized_session(Request* r, char* buf, char** err) {
  const engine::Handshake* h = with_session(r, err);
  if (!h) return kError;
  auto* p = reinterpret_cast<unsigned char*>(buf);
  return i2d_SSL_SESSION(h->session, &p) ? int{kOk} : ssl_error(err, "i2d_SSL_SESSION() failed");
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_get_session_id_size(Request* r, char** err) {
  const engine::Handshake* h = handshake(r, err);
  if (!h) return kError;
  if (h->session_id.empty()) return ffi_error(err, "uninitialized session id len in lua context");
  return static_cast<int>(2 * h->session_id.size());
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_get_session_id(Request* r, char* buf, char** err) {
  const engine::Handshake* h = handshake(r, err);
  if (!h) return kError;
  if (h->session_id.empty()) return ffi_error(err, "uninitialized session id in lua context");
  static constexpr char kDigits[] = "0123456789abcdef";
  for (const char c : h->session_id) {
    *buf++ = kDigits[static_cast<unsigned char>(c) >> 4];
    *buf++ = kDigits[c & 15];
  }
  return kOk;
}
