#include "net/tls_server.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace moonphase::net {

namespace {

TlsOwner* owner_of(SSL* ssl) {
  TlsSession* tls = TlsSession::of(ssl);
  return tls ? tls->owner() : nullptr;
}

int client_hello(SSL* ssl, int* alert, void*) {
  TlsOwner* owner = owner_of(ssl);
  if (!owner) return SSL_CLIENT_HELLO_ERROR;
  *alert = SSL_AD_INTERNAL_ERROR;
  switch (owner->tls_client_hello(alert)) {
    case kOk:
      return SSL_CLIENT_HELLO_SUCCESS;
    case kAgain:
      return SSL_CLIENT_HELLO_RETRY;
    default:
      return SSL_CLIENT_HELLO_ERROR;
  }
}

int server_name(SSL* ssl, int* alert, void*) {
  TlsOwner* owner = owner_of(ssl);
  if (!owner) return SSL_TLSEXT_ERR_ALERT_FATAL;
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  *alert = SSL_AD_UNRECOGNIZED_NAME;
  switch (owner->tls_server_name(name ? Str(name) : Str(), alert)) {
    case kOk:
      return SSL_TLSEXT_ERR_OK;
    case kDeclined:
      return SSL_TLSEXT_ERR_NOACK;
    default:
      return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
}

int certificate(SSL* ssl, void*) {
  TlsOwner* owner = owner_of(ssl);
  if (!owner) return 0;
  switch (owner->tls_certificate()) {
    case kOk:
      return 1;
    case kAgain:
      return -1;
    default:
      return 0;
  }
}

int select_protocol(SSL* ssl, const unsigned char** out, unsigned char* out_len,
                    const unsigned char* in, unsigned int in_len, void*) {
  static constexpr unsigned char kAll[] = "\x02h2\x08http/1.1\x08http/1.0\x08http/0.9";
  const TlsOwner* owner = owner_of(ssl);
  const unsigned skipped = owner && owner->tls_http2() ? 0 : 3;
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_len, kAll + skipped, sizeof kAll - 1 - skipped, in,
                            in_len) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

int new_session(SSL* ssl, SSL_SESSION* session) {
  if (TlsOwner* owner = owner_of(ssl)) owner->tls_new_session(session);
  return 0;
}

SSL_SESSION* get_session(SSL* ssl, const unsigned char* id, int n, int* copy) {
  *copy = 0;
  TlsOwner* owner = owner_of(ssl);
  if (!owner) return nullptr;
  return owner->tls_get_session({reinterpret_cast<const char*>(id), static_cast<size_t>(n)});
}

// --- ssl_session_ticket_key ---

struct TicketKey {
  unsigned char name[16], aes[32], hmac[32];
  bool short_key;  // 48 bytes: AES-128
};
using TicketKeys = std::vector<TicketKey>;

void free_keys(void*, void* ptr, CRYPTO_EX_DATA*, int, long, void*) {
  auto* keys = static_cast<TicketKeys*>(ptr);
  if (!keys) return;
  OPENSSL_cleanse(keys->data(), keys->size() * sizeof(TicketKey));
  delete keys;
}

int ticket_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, free_keys);
  return index;
}

int ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
               EVP_MAC_CTX* mac, int encrypt) {
  auto* keys = static_cast<TicketKeys*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ticket_index()));
  if (!keys || keys->empty()) return -1;
  const TicketKey* key = &keys->front();
  if (!encrypt) {
    auto found = std::find_if(keys->begin(), keys->end(), [&](const TicketKey& k) {
      return std::memcmp(k.name, name, sizeof k.name) == 0;
    });
    if (found == keys->end()) return 0;
    key = &*found;
  }
  const EVP_CIPHER* aes = key->short_key ? EVP_aes_128_cbc() : EVP_aes_256_cbc();
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, const_cast<unsigned char*>(key->hmac),
                                        key->short_key ? 16 : 32),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, const_cast<char*>("SHA256"), 0),
      OSSL_PARAM_construct_end(),
  };
  if (EVP_MAC_CTX_set_params(mac, params) != 1) return -1;
  if (!encrypt) {
    if (EVP_DecryptInit_ex(cipher, aes, nullptr, key->aes, iv) != 1) return -1;
    const bool renew = key != &keys->front() || SSL_version(ssl) == TLS1_3_VERSION;
    return renew ? 2 : 1;
  }
  if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(aes)) != 1) return -1;
  if (EVP_EncryptInit_ex(cipher, aes, nullptr, key->aes, iv) != 1) return -1;
  std::memcpy(name, key->name, sizeof key->name);
  return 1;
}

bool read_ticket_key(const std::string& path, TicketKey* key, std::string* error) {
  unsigned char bytes[81];
  FILE* file = std::fopen(path.c_str(), "re");
  if (!file) {
    *error = "open() \"" + path + "\" failed (" + std::to_string(errno) + ": " +
             std::strerror(errno) + ")";
    return false;
  }
  const size_t n = std::fread(bytes, 1, sizeof bytes, file);
  std::fclose(file);
  if (n != 48 && n != 80) {
    *error = "\"" + path + "\" must be 48 or 80 bytes";
    return false;
  }
  std::memset(key, 0, sizeof *key);
  std::memcpy(key->name, bytes, 16);
  key->short_key = n == 48;
  std::memcpy(key->short_key ? key->aes : key->hmac, bytes + 16, n == 48 ? 16 : 32);
  std::memcpy(key->short_key ? key->hmac : key->aes, bytes + (n == 48 ? 32 : 48),
              n == 48 ? 16 : 32);
  OPENSSL_cleanse(bytes, sizeof bytes);
  return true;
}

// Sessions of one server are not good for another one with other certificates or authorities.
bool set_session_context(SSL_CTX* ctx, const TlsServerSettings& s) {
  EVP_MD_CTX* md = EVP_MD_CTX_new();
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int n = 0;
  EVP_DigestInit_ex(md, EVP_sha1(), nullptr);
  EVP_DigestUpdate(md, "HTTP", 4);
  for (int rc = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_FIRST); rc == 1;
       rc = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_NEXT)) {
    X509_digest(SSL_CTX_get0_certificate(ctx), EVP_sha1(), digest, &n);
    EVP_DigestUpdate(md, digest, n);
  }
  if (s.verify != TlsServerSettings::kOff) {
    const STACK_OF(X509_NAME)* list = SSL_CTX_get_client_CA_list(ctx);
    for (int i = 0; i < sk_X509_NAME_num(list); ++i) {
      X509_NAME_digest(sk_X509_NAME_value(list, i), EVP_sha1(), digest, &n);
      EVP_DigestUpdate(md, digest, n);
    }
  }
  EVP_DigestFinal_ex(md, digest, &n);
  EVP_MD_CTX_free(md);
  ERR_clear_error();
  return SSL_CTX_set_session_id_context(ctx, digest, n) == 1;
}

}  // namespace

bool set_server_sessions(SSL_CTX* ctx, const TlsServerSettings& s, std::string* error) {
  if (!set_session_context(ctx, s)) {
    *error = tls_error_text("SSL_CTX_set_session_id_context() failed");
    return false;
  }
  SSL_CTX_set_timeout(ctx, static_cast<long>(s.session_timeout));
  long mode = SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR | SSL_SESS_CACHE_NO_INTERNAL;
  long size = 1;
  for (const std::string& word : s.session_cache) {
    if (word == "off") {
      mode = SSL_SESS_CACHE_OFF;
    } else if (word.starts_with("builtin")) {
      mode = SSL_SESS_CACHE_SERVER;
      size = word.size() > 8 ? std::atol(word.c_str() + 8) : SSL_SESSION_CACHE_MAX_SIZE_DEFAULT;
    } else if (word.starts_with("shared:") && mode != SSL_SESS_CACHE_SERVER) {
      mode = SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL;
    }
  }
  // Lua's own cache needs the callbacks, even with `off` or `none`.
  if ((s.store_sessions || s.fetch_sessions) && mode == SSL_SESS_CACHE_OFF)
    mode = SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL;
  SSL_CTX_set_session_cache_mode(ctx, mode);
  SSL_CTX_sess_set_cache_size(ctx, size);
  if (s.store_sessions) SSL_CTX_sess_set_new_cb(ctx, new_session);
  if (s.fetch_sessions) SSL_CTX_sess_set_get_cb(ctx, get_session);
  if (!s.session_tickets) SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
  if (!s.ticket_keys.empty()) {
    auto keys = std::make_unique<TicketKeys>(s.ticket_keys.size());
    for (size_t i = 0; i < keys->size(); ++i)
      if (!read_ticket_key(s.ticket_keys[i], &(*keys)[i], error)) return false;
    SSL_CTX_set_ex_data(ctx, ticket_index(), keys.release());
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key);
  }
  return true;
}

// A ticket's key: its name, and keys to encrypt and to sign; SHA-512 twice, with a number before
// the secret.
void derive_ticket_keys(SSL_CTX* ctx, Str secret) {
  unsigned char keys[2 * 64];
  for (unsigned char i = 0; i < 2; ++i) {
    EVP_MD_CTX* md = EVP_MD_CTX_new();
    static constexpr char kLabel[] = "moonphase session tickets";
    EVP_DigestInit_ex(md, EVP_sha512(), nullptr);
    EVP_DigestUpdate(md, &i, 1);
    EVP_DigestUpdate(md, kLabel, sizeof kLabel);
    EVP_DigestUpdate(md, secret.data(), secret.size());
    EVP_DigestFinal_ex(md, keys + 64 * i, nullptr);
    EVP_MD_CTX_free(md);
  }
  const long n = SSL_CTX_get_tlsext_ticket_keys(ctx, nullptr, 0);
  if (n > 0 && static_cast<size_t>(n) <= sizeof keys) SSL_CTX_set_tlsext_ticket_keys(ctx, keys, n);
  OPENSSL_cleanse(keys, sizeof keys);
}

bool has_ticket(const TlsSession* tls) {
  const SSL* ssl = tls->ssl();
  if (SSL_get_options(ssl) & SSL_OP_NO_TICKET) return false;
  const SSL_SESSION* session = SSL_get0_session(ssl);
  return SSL_version(ssl) >= TLS1_3_VERSION || (session && SSL_SESSION_has_ticket(session));
}

size_t encode_session(const SSL_SESSION* session, char* to, size_t room) {
  auto* s = const_cast<SSL_SESSION*>(session);
  const int n = i2d_SSL_SESSION(s, nullptr);
  if (n <= 0 || static_cast<size_t>(n) > room) return 0;
  auto* p = reinterpret_cast<unsigned char*>(to);
  return static_cast<size_t>(i2d_SSL_SESSION(s, &p));
}

SSL_SESSION* decode_session(Str bytes) {
  auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
  SSL_SESSION* session = d2i_SSL_SESSION(nullptr, &p, static_cast<long>(bytes.size()));
  ERR_clear_error();
  return session;
}

void set_server_callbacks(SSL_CTX* ctx) {
  SSL_CTX_set_client_hello_cb(ctx, client_hello, nullptr);
  SSL_CTX_set_tlsext_servername_callback(ctx, server_name);
  SSL_CTX_set_cert_cb(ctx, certificate, nullptr);
  SSL_CTX_set_alpn_select_cb(ctx, select_protocol, nullptr);
}

}  // namespace moonphase::net
