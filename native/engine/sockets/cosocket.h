// ngx.socket.tcp's socket: connects (resolving, queueing for its pool), sends and receives, and
// goes into a pool. Closes with its request, its collection, or close().
#pragma once

#include "engine/sockets/socket_pool.h"
#include "engine/sockets/stream_socket.h"
#include "net/tls.h"

namespace moonphase::engine {

class CoSocket final : public StreamSocket, public net::TlsOwner {
 public:
  CoSocket(http::Request* r, Generation* g);
  ~CoSocket() override;

  // A new life of the same object: another connect().
  void reset(http::Request* r);

  bool connected() const override { return stream_; }  // or about to be
  int reused() const { return reused_; }
  int fd() const override { return stream_ ? stream_->fd() : -1; }
  const void* address() const override { return stream_; }
  net::Stream* stream() const { return stream_; }

  Rc connect(Str host, int port, SocketPool* pool, const sockaddr_storage* local,
             socklen_t local_len, bool transparent);
  Pending* connect_wait() { return &connect_wait_; }
  int push_connected(lua_State* L);
  void resume_connect();  // the pool has a place

  // TLS. What a handshake needs beyond the socket's configuration; pointers are the caller's until
  // `handshake` returns.
  struct TlsOptions {
    SSL_SESSION* session = nullptr;
    bool reuse_session = true, verify = false, status_request = false;
    Str server_name;
    bool has_server_name = false;
    void* chain = nullptr;  // STACK_OF(X509)*, with its key
    void* key = nullptr;    // EVP_PKEY*
  };
  // kOk: handshaken; kDone: it was before, with `session`; kAgain: `handshake_wait()`; kError:
  // `handshake_error`.
  Rc handshake(const TlsOptions& options);
  Pending* handshake_wait() { return &handshake_wait_; }
  const char* handshake_error = nullptr;
  int handshake_code = 0;  // X509_V_ERR_…, or 0
  // The last handshake's session, whose reference is the caller's from the first call on; null
  // when it is not to be reused.
  SSL_SESSION* take_session();
  void set_trusted_store(void* store);  // X509_STORE*, for the next handshake
  net::TlsSession* tls() const { return stream_ ? stream_->tls : nullptr; }

  // What a handshake has left behind, or is to find.
  bool has_tls_state() const { return session_ || trusted_store_ || !server_name_.empty(); }
  // For others whose connections are in pools: never connects.
  bool stands_in = false;

  // Why the connection cannot go into a pool: an error string of setkeepalive, or null.
  const char* unfit_for_pool();
  void keepalive(SocketPool* pool, int64_t keep_ms);
  void close() override;

  SocketPool* pool() const { return pool_; }
  const Peer& peer() const { return peer_; }
  char* append(char* p,
               char* end) const override;  // ", upstream: host:port(addr)" and the request's

 private:
  const Log& tls_log() const override;
  const LogContext* tls_log_context() const override { return this; }
  int tls_fault_level() const override { return kLogErr; }
  Rc handshake_step();
  Rc handshake_done(Rc rc);
  Rc handshake_fail(const char* why, int code = 0);
  int push_handshake(lua_State*) { return 0; }  // Lua asks for the result by FFI
  void cancel_handshake();
  void save_session();
  void forget_session();
  ssize_t recv_bytes(void* buf, size_t n) override { return stream_->recv(buf, n); }
  ssize_t send_bytes(Str data) override;
  int io_error() const override { return stream_->error(); }
  void want_read(bool on) override { stream_->want_read(on); }
  void want_write(bool on) override { stream_->want_write(on); }
  void before_send() override;
  void drop() override;
  void log_io(int err, const char* text) const override;

  void stop_connect();
  void cancel_connect();
  Rc connect_fail(Failure why, int err = 0);
  Rc resolve();
  Rc dial();
  Rc dialled();
  void attach(KeptConnection kept);
  static void on_readable(void* data);
  static void on_writable(void* data);

  Generation* gen_;
  net::Stream* stream_ = nullptr;
  Peer peer_;
  int port_ = 0;
  SocketPool* pool_ = nullptr;
  bool counted_ = false;  // in pool_->connections
  int reused_ = 0;
  sockaddr_storage local_{};
  socklen_t local_len_ = 0;
  bool transparent_ = false;
  bool queued_ = false, nodelay_set_ = false;
  net::Resolution* resolution_ = nullptr;
  Wait<CoSocket> connect_wait_;
  Wait<CoSocket> handshake_wait_;
  net::Timer handshake_timer_{};
  bool handshaking_ = false, reuse_session_ = true, verify_ = false;
  std::string server_name_;
  void* trusted_store_ = nullptr;
  SSL_SESSION* session_ = nullptr;
  bool session_taken_ = false;
  net::Timer connect_timer_{};
  Failure connect_failure_ = Failure::kNone;
  int connect_errno_ = 0;
};

}  // namespace moonphase::engine
