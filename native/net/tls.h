// TLS over a Stream, by node's OpenSSL: once attached, the stream's recv, send & co. go through it
// with the contract that they have without. Knows neither clients nor cosockets; what differs
// between them is TlsOwner.
#pragma once

#include <sys/uio.h>

#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "net/loop.h"

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_session_st SSL_SESSION;

namespace moonphase::net {

class Stream;

// Who has the session: where its lines are logged, and what a server decides during the handshake.
// All but the first two may stay as they are.
class TlsOwner {
 public:
  virtual const Log& tls_log() const = 0;
  virtual const LogContext* tls_log_context() const = 0;
  // Level of what the peer did wrong: kLogInfo for clients, kLogErr for servers that we call.
  virtual int tls_fault_level() const { return kLogInfo; }

  // kOk: the handshake goes on; kAgain: `handshake()` will be called again later; kError: it fails.
  virtual Rc tls_client_hello(int* alert) {
    (void)alert;
    return kOk;
  }
  // The name that the client asks for; empty: none. kDeclined: it is not acknowledged; kError fails
  // with *alert.
  virtual Rc tls_server_name(Str name, int* alert) {
    (void)name, (void)alert;
    return kDeclined;
  }
  // HTTP/2 may be agreed on.
  virtual bool tls_http2() const { return false; }
  virtual Rc tls_certificate() { return kOk; }
  virtual void tls_new_session(SSL_SESSION* session) { (void)session; }
  // A session of ours, whose reference the caller takes; null: unknown.
  virtual SSL_SESSION* tls_get_session(Str id) {
    (void)id;
    return nullptr;
  }

 protected:
  ~TlsOwner() = default;
};

class TlsSession {
 public:
  // The stream's from now on, freed with it. Null: logged.
  static TlsSession* attach(Stream* stream, SSL_CTX* ctx, bool server, TlsOwner* owner);
  static TlsSession* of(const SSL* ssl);

  SSL* ssl() const { return ssl_; }
  TlsOwner* owner() const { return owner_; }
  void set_owner(TlsOwner* owner) { owner_ = owner; }  // null: nobody logs (a pool's connection)

  // kOk, kAgain (the stream wants what it needs, or a callback of the owner waits), kError
  // (logged).
  Rc handshake();
  bool done() const { return done_; }
  // The protocol that was agreed on; empty: none.
  Str protocol() const;
  // The owner refused the handshake itself; its error is not one of the protocol.
  bool rejected = false;

  // As the stream's own.
  ssize_t recv(void* buf, size_t n, int* error);
  ssize_t peek(void* buf, size_t n, int* error);
  ssize_t send(const iovec* iov, int count, int* error);
  ssize_t sendfile(int fd, off_t offset, size_t n, int* error);

  // Says good-bye to the peer, unless `quiet`, and frees itself after the turn.
  void end(bool quiet);

  // --- for the stream: which event an operation waits for is not always the one of its name.
  bool unread() const { return more_; }  // bytes may be here that the socket does not tell of
  bool read_waits_for_write = false, write_waits_for_read = false;
  uint64_t reads = 0;  // calls of recv and peek

 private:
  TlsSession() = default;
  ssize_t failed(int n, const char* what, int* error);
  ssize_t ended(int* error);
  bool write(const char* data, size_t n, ssize_t* taken, int* error);
  int read_early(void* buf, size_t n, size_t* got);
  void log_handshake() const;

  SSL* ssl_ = nullptr;
  Stream* stream_ = nullptr;
  TlsOwner* owner_ = nullptr;
  bool done_ = false, more_ = false, broken_ = false;
  std::optional<ssize_t> over_;  // what reads answer from now on: 0 or kIoError with over_error_
  int over_error_ = 0;
  // TLS 1.3: the client may send a request before the handshake is over.
  enum : uint8_t { kNoEarly, kMayCome, kEarly } early_ = kNoEarly;
  bool early_unread_ = false;  // its first byte, which handshake() has read
  char early_byte_ = 0;
  std::string pending_;  // a record that the socket has not taken yet: it goes first
  size_t credit_ = 0;    // bytes written already that the owner will give once more
  size_t buffer_size_ = 16384;

 public:
  void set_buffer_size(size_t n) { buffer_size_ = n < 16384 ? n : 16384; }
};

// Writes "TEXT (SSL: error:…)" with everything that OpenSSL's error queue holds, which is empty
// afterwards.
std::string tls_error_text(const char* text);
void tls_log_error(const Log& log, const LogContext* context, int level, int err, const char* text);

}  // namespace moonphase::net
