#include "net/tls_ask.h"

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <utility>

namespace moonphase::net {

namespace {

int index() {
  static const int i = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return i;
}

int on_certificate(SSL*, void* arg) {
  auto* q = static_cast<TlsQuestions*>(arg);
  const Rc rc = q->certificate(q);
  return rc == kOk ? 1 : rc == kAgain ? -1 : 0;
}

int on_verify(X509_STORE_CTX* check, void*) {
  SSL* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(check, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* q = static_cast<TlsQuestions*>(SSL_get_ex_data(ssl, index()));
  if (!q || !q->verify) return X509_verify_cert(check);
  if (!q->peer) {
    q->peer = X509_STORE_CTX_get0_cert(check);
    if (q->peer) X509_up_ref(q->peer);
  }
  q->check = check;
  const Rc rc = q->verify(q);
  q->check = nullptr;
  if (rc == kAgain) return static_cast<int>(SSL_set_retry_verify(ssl));
  // A refusal is one also where the verification is only looked at after the handshake.
  if (rc != kOk && q->verify_error == X509_V_OK)
    q->verify_error = X509_V_ERR_APPLICATION_VERIFICATION;
  X509_STORE_CTX_set_error(check, q->verify_error);
  return rc == kOk ? 1 : 0;
}

}  // namespace

void let_verify(SSL_CTX* context) { SSL_CTX_set_cert_verify_callback(context, on_verify, nullptr); }

void set_questions(TlsSession* tls, TlsQuestions* questions) {
  SSL* ssl = tls->ssl();
  SSL_set_ex_data(ssl, index(), questions);
  const bool asks = questions && questions->certificate;
  SSL_set_cert_cb(ssl, asks ? on_certificate : nullptr, questions);
}

bool verify_by_default(TlsQuestions* questions) {
  const bool ok = X509_verify_cert(questions->check) > 0;
  questions->verify_error = X509_STORE_CTX_get_error(questions->check);
  return ok;
}

void free_peer(TlsQuestions* questions) { X509_free(std::exchange(questions->peer, nullptr)); }

}  // namespace moonphase::net
