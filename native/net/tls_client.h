// The client's side of a handshake: what is set before it, what is asked after it.
#pragma once

#include "net/tls.h"

namespace moonphase::net {

struct TlsClientOptions {
  SSL_SESSION* session = nullptr;
  const char* server_name = nullptr;  // SNI
  void* chain = nullptr;              // STACK_OF(X509)*: a client certificate and what is above it
  void* key = nullptr;                // EVP_PKEY*
  void* trusted_store = nullptr;      // X509_STORE*
  bool status_request = false;
};
// Null, or what cannot be done.
const char* prepare_client(TlsSession* tls, const TlsClientOptions& options);

// An X509_V_… code; 0: fine.
long verify_result(const TlsSession* tls, const char** text);
bool host_matches(const TlsSession* tls, const std::string& name);

// The owner is asked for a client certificate (tls_certificate) and whether the server's is good
// (tls_verify).
void ask_owner(TlsSession* tls, bool certificate, bool verify);
// For tls_verify. OpenSSL's own way; false: it failed without saying what is wrong.
bool verify_store(X509_STORE_CTX* store);
long store_error(X509_STORE_CTX* store);  // an X509_V_… code
void set_store_error(X509_STORE_CTX* store, long code);
void* retain_store_certificate(X509_STORE_CTX* store);  // X509*
void free_certificate(void* certificate);

SSL_SESSION* get1_session(const TlsSession* tls);  // null: none
void free_session(SSL_SESSION* session);
void* retain_store(void* store);  // X509_STORE*
void free_store(void* store);

}  // namespace moonphase::net
