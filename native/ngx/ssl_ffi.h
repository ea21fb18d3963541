// What the FFI functions of ngx.ssl & co. share.
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "engine/handshake.h"
#include "engine/sockets/cosocket.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

// The TLS session of a request or of a handshake's handler. Null: *err says why.
inline SSL* ssl_of(const Request* r, char** err) {
  const net::TlsSession* tls = r && r->conn ? r->conn->tls() : nullptr;
  if (!tls) ffi_error(err, "bad request");
  return tls ? tls->ssl() : nullptr;
}

// The TLS session of a cosocket (socket_tls.cc). Null: *err says why.
SSL* ssl_of(engine::StreamSocket* u, char** err, const char* without = "no ssl connection");

// OpenSSL has failed.
inline int ssl_error(char** err, const char* text) {
  ERR_clear_error();
  return ffi_error(err, text);
}

struct FreeBio {
  void operator()(BIO* b) const { BIO_free(b); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;
inline Bio bio_of(const void* data, size_t n) {
  return Bio(BIO_new_mem_buf(data, static_cast<int>(n)));
}
struct FreeX509 {
  void operator()(X509* x) const { X509_free(x); }
};
using Cert = std::unique_ptr<X509, FreeX509>;
struct FreeChain {
  void operator()(STACK_OF(X509) * s) const { sk_X509_pop_free(s, X509_free); }
};
using Chain509 = std::unique_ptr<STACK_OF(X509), FreeChain>;
struct FreeKey {
  void operator()(EVP_PKEY* k) const { EVP_PKEY_free(k); }
};
using Key = std::unique_ptr<EVP_PKEY, FreeKey>;

// ssl_keys.cc: what a side of a handshake shows. kOk, or kError with *err.
int use_der_chain(SSL* ssl, const char* data, size_t len, char** err);
int use_der_key(SSL* ssl, const char* data, size_t len, char** err);
int use_parsed_chain(SSL* ssl, void* chain, char** err);  // STACK_OF(X509)*
int use_parsed_key(SSL* ssl, void* key, char** err);      // EVP_PKEY*

}  // namespace moonphase::ngx
