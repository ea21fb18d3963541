#include "net/tls_hello.h"

#include <openssl/ssl.h>

namespace moonphase::net {

bool hello_takes_tls13(const TlsSession* tls) {
  SSL* ssl = tls->ssl();
  if (SSL_get_options(ssl) & SSL_OP_NO_TLSv1_3) return false;
  const unsigned char* data = nullptr;
  size_t n = 0;
  if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &data, &n) || n < 1)
    return false;
  for (size_t i = 1; i + 1 < n; i += 2)
    if (data[i] == 3 && data[i + 1] == 4) return true;
  return false;
}

Str hello_server_name(const TlsSession* tls) {
  const unsigned char* p = nullptr;
  size_t n = 0;
  if (!SSL_client_hello_get0_ext(tls->ssl(), TLSEXT_TYPE_server_name, &p, &n)) return {};
  // A list of one name: length of the list, type, length of the name, the name.
  constexpr size_t kHead = 5;
  if (n <= kHead || p[2] != TLSEXT_NAMETYPE_host_name) return {};
  const size_t length = static_cast<size_t>(p[3] << 8 | p[4]);
  if (kHead + length > n) return {};
  return {reinterpret_cast<const char*>(p + kHead), length};
}

Str hello_session_id(const TlsSession* tls) {
  SSL* ssl = tls->ssl();
  const unsigned char* data = nullptr;
  size_t n = 0;
  // A ticket is the session itself.
  if (!(SSL_get_options(ssl) & SSL_OP_NO_TICKET) &&
      SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_session_ticket, &data, &n) && n > 0)
    return {};
  n = SSL_client_hello_get0_session_id(ssl, &data);
  return {reinterpret_cast<const char*>(data), n};
}

bool is_tls13(const TlsSession* tls) { return SSL_version(tls->ssl()) >= TLS1_3_VERSION; }

std::string session_id(const SSL_SESSION* session) {
  unsigned int n = 0;
  const unsigned char* id = SSL_SESSION_get_id(session, &n);
  return std::string(reinterpret_cast<const char*>(id), n);
}

void free_session_if(SSL_SESSION* session, bool owned) {
  if (owned) SSL_SESSION_free(session);
}

}  // namespace moonphase::net
