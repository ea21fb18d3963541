// ngx.ssl's certificates and keys: from PEM and DER, and into a handshake.
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "ngx/ssl_ffi.h"

using namespace moonphase;
using namespace moonphase::ngx;

namespace moonphase::ngx {

Key read_der_key(const void* der, size_t n, char** err) {
  ERR_clear_error();
  const Bio bio = bio_of(der, n);
  if (!bio) {
    ssl_error(err, "BIO_new_mem_buf() failed");
    return nullptr;
  }
  Key key(d2i_PrivateKey_bio(bio.get(), nullptr));
  if (!key) ssl_error(err, "d2i_PrivateKey_bio() failed");
  return key;
}

Chain509 read_der_chain(const void* der, size_t n, const char* rest_error, char** err) {
  ERR_clear_error();
  const Bio bio = bio_of(der, n);
  if (!bio) {
    ssl_error(err, "BIO_new_mem_buf() failed");
    return nullptr;
  }
  Chain509 chain(sk_X509_new_null());
  do {
    X509* x = d2i_X509_bio(bio.get(), nullptr);
    if (!x) {
      ssl_error(err, sk_X509_num(chain.get()) ? rest_error : "d2i_X509_bio() failed");
      return nullptr;
    }
    sk_X509_push(chain.get(), x);
  } while (!BIO_eof(bio.get()));
  return chain;
}

int use_chain(SSL* ssl, STACK_OF(X509) * chain, const char* add_error, char** err) {
  ERR_clear_error();
  if (sk_X509_num(chain) < 1) return ffi_error(err, "invalid certificate chain");
  if (SSL_use_certificate(ssl, sk_X509_value(chain, 0)) == 0)
    return ssl_error(err, "SSL_use_certificate() failed");
  for (int i = 1; i < sk_X509_num(chain); ++i)
    if (SSL_add1_chain_cert(ssl, sk_X509_value(chain, i)) == 0) return ssl_error(err, add_error);
  *err = nullptr;
  return kOk;
}

int use_key(SSL* ssl, EVP_PKEY* key, char** err) {
  ERR_clear_error();
  if (SSL_use_PrivateKey(ssl, key) == 0) return ssl_error(err, "SSL_use_PrivateKey() failed");
  return kOk;
}

}  // namespace moonphase::ngx

namespace {

// True: what was read was all that there is.
bool end_of_pem() {
  const unsigned long n = ERR_peek_last_error();
  const bool end = ERR_GET_LIB(n) == ERR_LIB_PEM && ERR_GET_REASON(n) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  return end;
}

Chain509 read_pem_chain(const void* pem, size_t n, char** err) {
  ERR_clear_error();
  const Bio bio = bio_of(pem, n);
  if (!bio) {
    ssl_error(err, "BIO_new_mem_buf() failed");
    return nullptr;
  }
  X509* x = PEM_read_bio_X509_AUX(bio.get(), nullptr, nullptr, nullptr);
  if (!x) {
    ssl_error(err, "PEM_read_bio_X509_AUX() failed");
    return nullptr;
  }
  Chain509 chain(sk_X509_new_null());
  do sk_X509_push(chain.get(), x);
  while ((x = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)));
  if (end_of_pem()) return chain;
  ffi_error(err, "PEM_read_bio_X509() failed");
  return nullptr;
}

// The password of ngx.ssl.priv_key_pem_to_der; without one nobody is asked on the terminal.
int give_password(char* buf, int size, int, void* data) {
  if (!data) return 0;
  const size_t n = std::strlen(static_cast<const char*>(data));
  if (n > static_cast<size_t>(size)) return 0;
  std::memcpy(buf, data, n);
  return static_cast<int>(n);
}

Key read_pem_key(const void* pem, size_t n, const void* password, char** err) {
  ERR_clear_error();
  const Bio bio = bio_of(pem, n);
  if (!bio) {
    ssl_error(err, "BIO_new_mem_buf() failed");
    return nullptr;
  }
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, give_password, const_cast<void*>(password)));
  if (!key) ssl_error(err, "PEM_read_bio_PrivateKey() failed");
  return key;
}

int accept_all(int, X509_STORE_CTX*) { return 1; }

// The client's authorities of verify_client: announced, and trusted.
const char* trust_chain(SSL* ssl, X509_STORE* store, STACK_OF(X509) * chain, bool announce) {
  STACK_OF(X509_NAME)* names = announce ? sk_X509_NAME_new_null() : nullptr;
  const char* why = nullptr;
  for (int i = 0; i < sk_X509_num(chain) && !why; ++i) {
    X509* x = sk_X509_value(chain, i);
    if (X509_STORE_add_cert(store, x) == 0) why = "X509_STORE_add_cert() failed";
    if (names) sk_X509_NAME_push(names, X509_NAME_dup(X509_get_subject_name(x)));
  }
  if (names && !why)
    SSL_set_client_CA_list(ssl, names);
  else
    sk_X509_NAME_pop_free(names, X509_NAME_free);
  return why;
}

}  // namespace

MOONPHASE_FFI int ngx_http_lua_ffi_cert_pem_to_der(const unsigned char* pem, size_t pem_len,
                                                   unsigned char* der, char** err) {
  const Chain509 chain = read_pem_chain(pem, pem_len, err);
  if (!chain) return kError;
  int total = 0;
  for (int i = 0; i < sk_X509_num(chain.get()); ++i) {
    const int n = i2d_X509(sk_X509_value(chain.get(), i), &der);
    if (n < 0) return ssl_error(err, "i2d_X509() failed");
    total += n;
  }
  return total;
}

MOONPHASE_FFI int ngx_http_lua_ffi_priv_key_pem_to_der(const unsigned char* pem, size_t pem_len,
                                                       const unsigned char* passphrase,
                                                       unsigned char* der, char** err) {
  const Key key = read_pem_key(pem, pem_len, passphrase, err);
  if (!key) return kError;
  const int n = i2d_PrivateKey(key.get(), &der);
  return n < 0 ? ssl_error(err, "i2d_PrivateKey() failed") : n;
}

MOONPHASE_FFI void* ngx_http_lua_ffi_parse_pem_cert(const unsigned char* pem, size_t pem_len,
                                                    char** err) {
  return read_pem_chain(pem, pem_len, err).release();
}

MOONPHASE_FFI void* ngx_http_lua_ffi_parse_pem_priv_key(const unsigned char* pem, size_t pem_len,
                                                        char** err) {
  return read_pem_key(pem, pem_len, nullptr, err).release();
}

MOONPHASE_FFI void* ngx_http_lua_ffi_parse_der_cert(const char* data, size_t len, char** err) {
  if (!data || len == 0) {
    ffi_error(err, "invalid argument");
    return nullptr;
  }
  return read_der_chain(data, len, "d2i_X509_bio() failed in rest of chain", err).release();
}

MOONPHASE_FFI void* ngx_http_lua_ffi_parse_der_priv_key(const char* data, size_t len, char** err) {
  if (!data || len == 0) {
    ffi_error(err, "invalid argument");
    return nullptr;
  }
  return read_der_key(data, len, err).release();
}

MOONPHASE_FFI void ngx_http_lua_ffi_free_cert(void* cdata) {
  sk_X509_pop_free(static_cast<STACK_OF(X509)*>(cdata), X509_free);
}

MOONPHASE_FFI void ngx_http_lua_ffi_free_priv_key(void* cdata) {
  EVP_PKEY_free(static_cast<EVP_PKEY*>(cdata));
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_clear_certs(Request* r, char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  SSL_certs_clear(ssl);
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_set_der_certificate(Request* r, const char* data, size_t len,
                                                           char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  const Chain509 chain = read_der_chain(data, len, "d2i_X509_bio() failed", err);
  return chain ? use_chain(ssl, chain.get(), "SSL_add0_chain_cert() failed", err) : int{kError};
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_set_der_private_key(Request* r, const char* data, size_t len,
                                                           char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  const Key key = read_der_key(data, len, err);
  return key ? use_key(ssl, key.get(), err) : int{kError};
}

MOONPHASE_FFI int ngx_http_lua_ffi_set_cert(Request* r, void* cdata, char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  return use_chain(ssl, static_cast<STACK_OF(X509)*>(cdata), "SSL_add1_chain_cert() failed", err);
}

MOONPHASE_FFI int ngx_http_lua_ffi_set_priv_key(Request* r, void* cdata, char** err) {
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  if (!cdata) return ffi_error(err, "invalid private key");
  return use_key(ssl, static_cast<EVP_PKEY*>(cdata), err);
}

MOONPHASE_FFI int ngx_http_lua_ffi_ssl_verify_client(Request* r, void* client_certs,
                                                     void* trusted_certs, int depth, char** err) {
  const LuaCtx* ctx = engine::ctx_of(r);
  if (!ctx) return ffi_error(err, "no request ctx found");
  if (!(ctx->phase & engine::kPhaseSslCert))
    return ffi_error(err, "API disabled in the current context");
  SSL* ssl = ssl_of(r, err);
  if (!ssl) return kError;
  ERR_clear_error();
  SSL_set_verify(ssl, SSL_VERIFY_PEER, accept_all);
  SSL_set_verify_depth(ssl, depth >= 0              ? depth
                            : r->srv && r->srv->tls ? r->srv->tls->verify_depth
                                                    : 1);
  if (!client_certs && !trusted_certs) return kOk;
  X509_STORE* store = X509_STORE_new();
  const char* why = nullptr;
  if (client_certs) why = trust_chain(ssl, store, static_cast<STACK_OF(X509)*>(client_certs), true);
  if (trusted_certs && !why)
    why = trust_chain(ssl, store, static_cast<STACK_OF(X509)*>(trusted_certs), false);
  if (!why && SSL_set0_verify_cert_store(ssl, store) == 0)
    why = "SSL_set0_verify_cert_store() failed";
  if (!why) return kOk;
  X509_STORE_free(store);
  return ssl_error(err, why);
}
