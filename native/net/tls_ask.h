// What a handshake with a server asks on its way: which certificate we show, and whether the
// server's is good. Whoever answers may take its time.
#pragma once

#include "net/tls.h"

typedef struct x509_st X509;
typedef struct x509_store_ctx_st X509_STORE_CTX;

namespace moonphase::net {

struct TlsQuestions {
  void* owner = nullptr;
  // kOk: the handshake goes on; kAgain: `TlsSession::handshake()` will be called again later;
  // kError: it fails. Null: OpenSSL answers by itself.
  Rc (*certificate)(TlsQuestions*) = nullptr;
  Rc (*verify)(TlsQuestions*) = nullptr;

  // For `verify`: what is found so far (X509_V_…), and the certificate in question, counted.
  int verify_error = 0;
  X509* peer = nullptr;
  X509_STORE_CTX* check = nullptr;  // only while `verify` runs
};

// `context` asks `verify` of the sessions that have questions.
void let_verify(SSL_CTX* context);
// Before the handshake; null takes them away.
void set_questions(TlsSession* tls, TlsQuestions* questions);
// Inside of `verify`: OpenSSL's own check, whose finding goes to verify_error.
bool verify_by_default(TlsQuestions* questions);
void free_peer(TlsQuestions* questions);

}  // namespace moonphase::net
