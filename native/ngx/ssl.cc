// ngx.ssl and ngx.ssl.clienthello: what a handshake tells, and its protocols.
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "engine/upstream/upstream.h"
#include "ngx/ssl_ffi.h"

using namespace moonphase;
using namespace moonphase::ngx;

namespace {

enum AddressType { kUnixAddress = 0, kInetAddress = 1, kInet6Address = 2 };

http::Connection* connection_of(Request* r) {
  return r->conn->handshake_of ? r->conn->handshake_of : r->conn;
}

int raw_address(const sockaddr* sa, socklen_t len, char** addr, size_t* n, int* type) {
  auto give = [&](const void* p, size_t size, int kind) {
    *addr = static_cast<char*>(const_cast<void*>(p));
    *n = size;
    *type = kind;
    return int{kOk};
  };
  switch (sa->sa_family) {
    case AF_INET6:
      return give(&reinterpret_cast<const sockaddr_in6*>(sa)->sin6_addr, 16, kInet6Address);
    case AF_UNIX: {
      const auto* un = reinterpret_cast<const sockaddr_un*>(sa);
      if (len <= static_cast<socklen_t>(offsetof(sockaddr_un, sun_path)))
        return give("", 0, kUnixAddress);
      return give(un->sun_path, std::strlen(un->sun_path), kUnixAddress);
    }
    default:
      return give(&reinterpret_cast<const sockaddr_in*>(sa)->sin_addr, 4, kInetAddress);
  }
}

bool is_grease(unsigned cipher) {
  return (cipher & 0x0f0f) == 0x0a0a && (cipher >> 8) == (cipher & 0xff);
}

unsigned read16(const unsigned char* p) { return static_cast<unsigned>(p[0] << 8 | p[1]); }

}  // namespace

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_raw_server_addr(Request* r, char** addr, size_t* addrlen,
                                                       int* addrtype, char** err) {
  if (!ssl_of(r, err)) return kError;
  http::Connection* c = connection_of(r);
  const sockaddr* sa = c->local_address();
  return sa ? raw_address(sa, c->local_len, addr, addrlen, addrtype) : int{kOk};
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_raw_client_addr(Request* r, char** addr, size_t* addrlen,
                                                       int* addrtype, char** err) {
  if (!ssl_of(r, err)) return kError;
  const http::Connection* c = connection_of(r);
  return raw_address(reinterpret_cast<const sockaddr*>(&c->peer), c->peer_len, addr, addrlen,
                     addrtype);
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_server_port(Request* r, unsigned short* server_port,
                                                   char** err) {
  if (!ssl_of(r, err)) return kError;
  const sockaddr* sa = connection_of(r)->local_address();
  if (!sa || sa->sa_family == AF_UNIX) return ffi_error(err, "unix domain has no port");
  *server_port =
      ntohs(sa->sa_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6*>(sa)->sin6_port
                                      : reinterpret_cast<const sockaddr_in*>(sa)->sin_port);
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_server_name(Request* r, char** name, size_t* namelen,
                                                   char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  *name = const_cast<char*>(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
  if (!*name) return kDeclined;
  *namelen = std::strlen(*name);
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_get_tls1_version(Request* r, char** err) {
  SSL* ssl = ssl_of(r, err);
  return ssl ? SSL_version(ssl) : int{kError};
}

MOONPHASE_FFI void* ngx_http_lua_ffi_get_req_ssl_pointer(Request* r, char** err) {
  const net::TlsSession* tls = r && r->conn ? r->conn->tls() : nullptr;
  if (tls) return tls->ssl();
  // Older versions of lua-resty-core pass no `err`.
  constexpr int kHasError = 10030;
  const LuaCtx* ctx = r ? engine::ctx_of(r) : nullptr;
  if (ctx && ctx->vm->lua_version >= kHasError) ffi_error(err, "bad request");
  return nullptr;
}

MOONPHASE_FFI void* ngx_http_lua_ffi_get_upstream_ssl_pointer(Request* r, char** err) {
  const char* why = "bad request";
  if (r) {
    const engine::Upstream* u = engine::Upstream::of(r);
    if (u && u->tls()) return u->tls()->ssl();
    why = !u ? "bad upstream" : !u->stream() ? "bad peer connection" : "not ssl connection";
  }
  ffi_error(err, why);
  return nullptr;
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_client_random(Request* r, unsigned char* out, size_t* outlen,
                                                     char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  *outlen = SSL_get_client_random(ssl, out, *outlen);
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_server_random(Request* r, unsigned char* out, size_t* outlen,
                                                     char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  *outlen = SSL_get_server_random(ssl, out, *outlen);
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_session_master_key(Request* r, unsigned char* out,
                                                          size_t* outlen, char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  const SSL_SESSION* session = SSL_get0_session(ssl);
  *outlen = session ? SSL_SESSION_get_master_key(session, out, *outlen) : 0;
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_export_keying_material(Request* r, unsigned char* out,
                                                              size_t out_size, const char* label,
                                                              size_t llen, const unsigned char* ctx,
                                                              size_t ctxlen, int use_ctx,
                                                              char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  ERR_clear_error();
  if (SSL_export_keying_material(ssl, out, out_size, label, llen, ctx, ctxlen, use_ctx) == 1)
    return kOk;
  return ssl_error(err, "SSL_export_keying_material() failed");
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_export_keying_material_early(Request* r, unsigned char* out,
                                                                    size_t out_size,
                                                                    const char* label, size_t llen,
                                                                    const unsigned char* ctx,
                                                                    size_t ctxlen, char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  ERR_clear_error();
  if (SSL_export_keying_material_early(ssl, out, out_size, label, llen, ctx, ctxlen) == 1)
    return kOk;
  return ssl_error(err, "SSL_export_keying_material_early() failed");
}

MOONPHASE_FFI int ngx_http_lua_ffi_req_shared_ssl_ciphers(Request* r, unsigned short* ciphers,
                                                          unsigned short* nciphers,
                                                          int filter_grease, char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  STACK_OF(SSL_CIPHER)* ours = SSL_get1_supported_ciphers(ssl);
  const STACK_OF(SSL_CIPHER)* theirs = SSL_get_client_ciphers(ssl);
  const int room = *nciphers;
  *nciphers = 0;
  if (sk_SSL_CIPHER_num(ours) > room) {
    sk_SSL_CIPHER_free(ours);
    return ffi_error(err, "buffer too small");
  }
  for (int i = 0; i < sk_SSL_CIPHER_num(ours); ++i) {
    const auto id = SSL_CIPHER_get_protocol_id(sk_SSL_CIPHER_value(ours, i));
    if (filter_grease && is_grease(id)) continue;
    for (int k = 0; k < sk_SSL_CIPHER_num(theirs); ++k) {
      if (SSL_CIPHER_get_protocol_id(sk_SSL_CIPHER_value(theirs, k)) != id) continue;
      ciphers[(*nciphers)++] = id;
      break;
    }
  }
  sk_SSL_CIPHER_free(ours);
  return kOk;
}

// --- ngx.ssl.clienthello ---

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_get_client_hello_server_name(Request* r, const char** name,
                                                                    size_t* namelen, char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  const unsigned char* p = nullptr;
  size_t n = 0;
  if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n)) return kDeclined;
  // A list of one name: length of the list, type, length of the name, the name.
  constexpr size_t kHead = 5;
  if (n <= kHead || read16(p) + 2 != n || p[2] != TLSEXT_NAMETYPE_host_name ||
      read16(p + 3) + kHead > n)
    return ffi_error(err, "Bad SSL Client Hello Extension");
  *name = reinterpret_cast<const char*>(p + kHead);
  *namelen = read16(p + 3);
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_get_client_hello_ext(Request* r, unsigned int type,
                                                            const unsigned char** out,
                                                            size_t* outlen, char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  return SSL_client_hello_get0_ext(ssl, type, out, outlen) ? int{kOk} : int{kDeclined};
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_get_client_hello_ext_present(Request* r, int** extensions,
                                                                    size_t* extensions_len,
                                                                    char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  int* found = nullptr;
  size_t n = 0;
  if (!SSL_client_hello_get1_extensions_present(ssl, &found, &n) || !found || !n) {
    OPENSSL_free(found);
    ffi_error(err, "failed SSL_client_hello_get1_extensions_present()");
    return kDeclined;
  }
  auto* copy = static_cast<int*>(r->pool->alloc(n * sizeof(int)));
  std::memcpy(copy, found, n * sizeof(int));
  OPENSSL_free(found);
  *extensions = copy;
  *extensions_len = n;
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_get_client_hello_ciphers(Request* r, unsigned short* ciphers,
                                                                size_t ciphers_len, char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  const unsigned char* raw = nullptr;
  const size_t bytes = SSL_client_hello_get0_ciphers(ssl, &raw);
  if (bytes == 0 || bytes % 2) {
    ffi_error(err, bytes ? "SSL_client_hello_get0_ciphers() odd ciphersuites_bytes"
                         : "failed SSL_client_hello_get0_ciphers()");
    return kDeclined;
  }
  const size_t n = std::min(bytes / 2, ciphers_len);
  for (size_t i = 0; i < n; ++i) ciphers[i] = static_cast<unsigned short>(read16(raw + 2 * i));
  return static_cast<int>(n);
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_set_protocols(Request* r, int protocols, char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  // nginx's bits.
  static constexpr std::pair<int, uint64_t> kProtocols[] = {
      {0x0004, SSL_OP_NO_SSLv3},   {0x0008, SSL_OP_NO_TLSv1},   {0x0010, SSL_OP_NO_TLSv1_1},
      {0x0020, SSL_OP_NO_TLSv1_2}, {0x0040, SSL_OP_NO_TLSv1_3},
  };
  for (const auto& [bit, option] : kProtocols) {
    if (protocols & bit)
      SSL_clear_options(ssl, option);
    else
      SSL_set_options(ssl, option);
  }
  return kOk;
}
