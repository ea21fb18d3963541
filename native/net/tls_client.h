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

SSL_SESSION* get1_session(const TlsSession* tls);  // null: none
void free_session(SSL_SESSION* session);
void* retain_store(void* store);  // X509_STORE*
void free_store(void* store);

}  // namespace moonphase::net
