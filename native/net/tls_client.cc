#include "net/tls_client.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace moonphase::net {

namespace {

const char* use_chain(SSL* ssl, STACK_OF(X509) * chain, EVP_PKEY* key) {
  if (sk_X509_num(chain) < 1) return "invalid client certificate chain";
  X509* leaf = sk_X509_value(chain, 0);
  if (!leaf) return "ssl fetch client certificate from chain failed";
  if (SSL_use_certificate(ssl, leaf) == 0) return "ssl set client certificate failed";
  for (int i = 1; i < sk_X509_num(chain); ++i) {
    X509* x = sk_X509_value(chain, i);
    if (!x) return "ssl fetch client intermediate certificate from chain failed";
    if (SSL_add1_chain_cert(ssl, x) == 0) return "ssl set client intermediate certificate failed";
  }
  if (SSL_use_PrivateKey(ssl, key) == 0) return "ssl set client private key failed";
  return nullptr;
}

}  // namespace

const char* prepare_client(TlsSession* tls, const TlsClientOptions& o) {
  SSL* ssl = tls->ssl();
  ERR_clear_error();
  const char* why = nullptr;
  if (o.session && SSL_set_session(ssl, o.session) == 0) why = "ssl set session failed";
  if (!why && o.chain)
    why = use_chain(ssl, static_cast<STACK_OF(X509)*>(o.chain), static_cast<EVP_PKEY*>(o.key));
  if (!why && o.server_name && SSL_set_tlsext_host_name(ssl, o.server_name) == 0)
    why = "SSL_set_tlsext_host_name failed";
  if (!why && o.trusted_store &&
      SSL_set1_verify_cert_store(ssl, static_cast<X509_STORE*>(o.trusted_store)) == 0)
    why = "SSL_set1_verify_cert_store() failed";
  if (!why && o.status_request) SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
  ERR_clear_error();
  return why;
}

long verify_result(const TlsSession* tls, const char** text) {
  const long rc = SSL_get_verify_result(tls->ssl());
  *text = X509_verify_cert_error_string(rc);
  return rc;
}

bool host_matches(const TlsSession* tls, const std::string& name) {
  X509* cert = SSL_get1_peer_certificate(tls->ssl());
  if (!cert) return false;
  const bool ok = X509_check_host(cert, name.data(), name.size(), 0, nullptr) == 1;
  X509_free(cert);
  return ok;
}

namespace {

TlsOwner* owner_of(const SSL* ssl) {
  TlsSession* tls = ssl ? TlsSession::of(ssl) : nullptr;
  return tls ? tls->owner() : nullptr;
}

int certificate_wanted(SSL* ssl, void*) {
  TlsOwner* owner = owner_of(ssl);
  if (!owner) return 0;
  const Rc rc = owner->tls_certificate();
  return rc == kOk ? 1 : rc == kAgain ? -1 : 0;
}

int verify_wanted(X509_STORE_CTX* store, void*) {
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  TlsOwner* owner = owner_of(ssl);
  if (!owner) return 0;
  const Rc rc = owner->tls_verify(store);
  return rc == kOk ? 1 : rc == kAgain ? static_cast<int>(SSL_set_retry_verify(ssl)) : 0;
}

}  // namespace

void ask_owner(TlsSession* tls, bool certificate, bool verify) {
  if (certificate) SSL_set_cert_cb(tls->ssl(), certificate_wanted, nullptr);
  // There is no such function for one connection.
  if (verify) SSL_CTX_set_cert_verify_callback(SSL_get_SSL_CTX(tls->ssl()), verify_wanted, nullptr);
}

bool verify_store(X509_STORE_CTX* store) { return X509_verify_cert(store) == 1; }
long store_error(X509_STORE_CTX* store) { return X509_STORE_CTX_get_error(store); }
void set_store_error(X509_STORE_CTX* store, long code) {
  X509_STORE_CTX_set_error(store, static_cast<int>(code));
}
void* retain_store_certificate(X509_STORE_CTX* store) {
  X509* x = X509_STORE_CTX_get0_cert(store);
  if (x) X509_up_ref(x);
  return x;
}
void free_certificate(void* certificate) { X509_free(static_cast<X509*>(certificate)); }

SSL_SESSION* get1_session(const TlsSession* tls) { return SSL_get1_session(tls->ssl()); }
void free_session(SSL_SESSION* session) { SSL_SESSION_free(session); }

void* retain_store(void* store) {
  if (store) X509_STORE_up_ref(static_cast<X509_STORE*>(store));
  return store;
}
void free_store(void* store) { X509_STORE_free(static_cast<X509_STORE*>(store)); }

}  // namespace moonphase::net
