// A TCP or unix stream socket of Lua: connects (resolving, queueing for its pool), sends and
// receives, each direction with one waiting coroutine and one timeout. Lives in a Lua userdata;
// closes with its request, its collection, or close().
#pragma once

#include "engine/lua_ctx.h"
#include "engine/receive.h"
#include "engine/socket_pool.h"

namespace moonphase::engine {

class CoSocket final : public LogContext {
 public:
  CoSocket(http::Request* r, Generation* g);
  ~CoSocket() override;
  CoSocket(const CoSocket&) = delete;
  CoSocket& operator=(const CoSocket&) = delete;

  http::Request* request() const { return r_; }
  // A new life of the same object: another connect().
  void reset(http::Request* r);

  int64_t connect_timeout = 0, send_timeout = 0, read_timeout = 0;

  bool connected() const { return stream_ && !connecting_; }
  bool read_closed() const { return !connected() || read_closed_; }
  bool write_closed() const { return !connected() || write_closed_; }
  bool busy_connecting() const { return connecting_; }
  bool busy_reading() const { return reading_; }
  bool busy_writing() const { return writing_; }
  int reused() const { return reused_; }
  int fd() const { return stream_ ? stream_->fd() : -1; }
  net::Stream* stream() const { return stream_; }

  // Operations answer kOk (results are pushed by the matching push_*), kAgain (`return wait(L,
  // &…_wait())`), kError (the error is pushed by the matching push_*).
  Rc connect(Str host, int port, SocketPool* pool, const sockaddr_storage* local,
             socklen_t local_len, bool transparent);
  Pending* connect_wait() { return &connect_wait_; }
  int push_connected(lua_State* L);
  void resume_connect();  // the pool has a place

  Rc receive(Receiver::Mode mode, size_t size, UntilPattern* until);
  Pending* read_wait() { return &read_wait_; }
  int push_received(lua_State* L);

  // `data` stays valid while the coroutine waits; or `owned` is moved in.
  Rc send(Str data, std::string* owned);
  Pending* write_wait() { return &write_wait_; }
  int push_sent(lua_State* L);

  // Gives the connection to the pool. Null when done, else an error string of setkeepalive.
  const char* keepalive(SocketPool* pool, int64_t keep_ms);
  bool unread() const { return rpos_ != rlast_; }
  bool at_eof();
  void close();

  SocketPool* pool() const { return pool_; }
  const Peer& peer() const { return peer_; }
  char* append(char* p,
               char* end) const override;  // ", upstream: host:port(addr)" and the request's

 private:
  enum class Failure : uint8_t { kNone, kTimeout, kClosed, kErrno, kResolver, kPoolFull, kText };
  // One direction's waiting coroutine.
  struct Wait final : Pending {
    Wait(CoSocket* s, int (CoSocket::*p)(lua_State*), void (CoSocket::*c)())
        : socket(s), push(p), stop(c) {}
    int results(lua_State* L) override { return (socket->*push)(L); }
    void cancel() override { (socket->*stop)(); }
    CoSocket* socket;
    int (CoSocket::*push)(lua_State*);
    void (CoSocket::*stop)();
  };

  void stop_connect();
  void stop_read();
  void stop_write();
  Rc connect_fail(Failure why, int err = 0);
  Rc resolve();
  Rc dial();
  Rc dialled(bool waiting);
  void attach(std::unique_ptr<IdleConnection> idle);
  Rc read_more();
  Rc write_more();
  Rc read_fail(Failure why, int err = 0);
  Rc write_fail(Failure why, int err = 0);
  int push_failure(lua_State* L, Failure why, int err) const;
  void log_failure(int level, int err, const char* text) const;
  bool log_errors() const;
  void drop_stream();
  static void on_readable(void* data);
  static void on_writable(void* data);

  http::Request* r_;
  Generation* gen_;
  net::Loop* loop_;
  net::Stream* stream_ = nullptr;
  Arena::Cleanup* cleanup_ = nullptr;
  Peer peer_;
  int port_ = 0;
  SocketPool* pool_ = nullptr;
  bool counted_ = false;  // in pool_->connections
  int reused_ = 0;
  sockaddr_storage local_{};
  socklen_t local_len_ = 0;
  bool transparent_ = false;
  bool connecting_ = false, queued_ = false, reading_ = false, writing_ = false;
  bool read_closed_ = false, write_closed_ = false, nodelay_set_ = false;
  net::Resolution* resolution_ = nullptr;
  std::string resolve_error_;

  Wait connect_wait_, read_wait_, write_wait_;
  net::Timer connect_timer_{}, read_timer_{}, write_timer_{};
  Failure connect_failure_ = Failure::kNone, read_failure_ = Failure::kNone,
          write_failure_ = Failure::kNone;
  int connect_errno_ = 0, read_errno_ = 0, write_errno_ = 0;

  // incoming
  char *rbuf_ = nullptr, *rpos_ = nullptr, *rlast_ = nullptr, *rend_ = nullptr;
  Receiver receiver_;

  // outgoing
  Str unsent_;
  size_t send_size_ = 0;
  std::string owned_;
};

}  // namespace moonphase::engine
