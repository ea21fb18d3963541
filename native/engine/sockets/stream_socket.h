// The two directions of a stream socket in Lua's hands, each with one waiting coroutine and one
// timeout. Where bytes come from and go to is the derived class's: a connection of its own
// (CoSocket) or the client's (ReqSocket). Lives in a Lua userdata.
#pragma once

#include <string>

#include "engine/lua_ctx.h"
#include "engine/sockets/receive.h"

namespace moonphase::engine {

class StreamSocket : public LogContext {
 public:
  // Lua code can put another userdata in this one's place: whoever takes it from there asks. Not
  // those that wait for another life, either.
  // The C functions of lua-resty-core do not get to know how large it is: some words behind a small
  // one, still the allocator's, may be looked at.
  __attribute__((no_sanitize("vptr", "address"))) static bool genuine(const StreamSocket* s) {
    return s->tag_ == &kTag;
  }
  void retire() { tag_ = nullptr; }

 private:
  static constexpr char kTag = 0;
  const void* tag_ = &kTag;

 public:
  StreamSocket(const StreamSocket&) = delete;
  StreamSocket& operator=(const StreamSocket&) = delete;
  ~StreamSocket() override;

  http::Request* request() const { return r_; }
  enum class Kind : uint8_t { kOwn, kBody, kRaw };  // kBody, kRaw: ngx.req.socket's
  Kind kind() const { return kind_; }

  int64_t connect_timeout = 0, send_timeout = 0, read_timeout = 0;

  virtual bool connected() const = 0;
  virtual int fd() const = 0;
  virtual const void* address() const = 0;  // for log lines
  bool read_closed() const { return !connected() || read_closed_; }
  bool write_closed() const { return !connected() || write_closed_; }
  bool busy_connecting() const { return connecting_; }
  bool busy_reading() const { return reading_; }
  virtual bool busy_writing() const { return writing_; }
  bool unread() const { return rpos_ != rlast_; }

  // Operations answer kOk (results are pushed by the matching push_*), kAgain (`return wait(L,
  // &…_wait())`), kError (the error is pushed by the matching push_*).
  Rc receive(Receiver::Mode mode, size_t size, UntilPattern* until);
  Pending* read_wait() { return &read_wait_; }
  int push_received(lua_State* L);

  // `data` stays valid while the coroutine waits; or `owned` is moved in.
  Rc send(Str data, std::string* owned);
  Pending* write_wait() { return &write_wait_; }
  int push_sent(lua_State* L);

  // Whatever it is at stops; the connection is let go.
  virtual void close() = 0;
  // Closed by Lua, or in a pool: its request has no more to do with it.
  void leave_request();

 protected:
  enum class Failure : uint8_t { kNone, kTimeout, kClosed, kAborted, kErrno, kResolver, kPoolFull };
  // One direction's waiting coroutine.
  template <class Socket>
  struct Wait final : Pending {
    Wait(Socket* s, int (Socket::*p)(lua_State*), void (Socket::*c)())
        : socket(s), push(p), stop(c) {}
    int results(lua_State* L) override { return (socket->*push)(L); }
    void cancel() override { (socket->*stop)(); }
    Socket* socket;
    int (Socket::*push)(lua_State*);
    void (Socket::*stop)();
  };

  explicit StreamSocket(Kind kind);
  // A new life of the same object. Destroyed or collected, whatever comes first: its request's
  // memory lets go of it, or it of that.
  void start(http::Request* r);

  // The connection: as net::Stream's.
  virtual ssize_t recv_bytes(void* buf, size_t n) = 0;
  virtual ssize_t send_bytes(Str data) = 0;
  virtual int io_error() const = 0;
  virtual void want_read(bool on) = 0;
  virtual void want_write(bool on) = 0;
  virtual void before_send() {}
  // Both directions are closed and the error was told.
  virtual void drop() = 0;
  // The stream's end stands for this failure.
  virtual Failure end_of_stream() { return Failure::kClosed; }
  // recv_bytes gave less than it was asked for: the next one would have to wait.
  virtual bool short_read_drains() const { return true; }
  // A receive is complete. kNone, or it fails after all.
  virtual Failure received() { return Failure::kNone; }
  // The result of a receive, or its error, goes to Lua.
  virtual void read_done() {}
  virtual void log_io(int err, const char* text) const = 0;

  void readable();
  void writable();
  void stop_read();
  void stop_write();
  void cancel_read();
  void cancel_write();
  int push_failure(lua_State* L, Failure why, int err) const;
  void log_failure(int level, int err, const char* text) const;
  bool log_errors() const;

  http::Request* r_ = nullptr;
  net::Loop* loop_;
  const Kind kind_;
  bool connecting_ = false, reading_ = false, writing_ = false;
  bool read_closed_ = false, write_closed_ = false;
  std::string error_text_;  // kResolver's

 private:
  Rc read_more();
  Rc gather();
  void push_back(Str bytes);
  Rc write_more();
  Rc read_fail(Failure why, int err = 0);
  Rc write_fail(Failure why, int err = 0);

  Arena::Cleanup* cleanup_ = nullptr;
  Wait<StreamSocket> read_wait_, write_wait_;
  net::Timer read_timer_{}, write_timer_{};
  Failure read_failure_ = Failure::kNone, write_failure_ = Failure::kNone;
  int read_errno_ = 0, write_errno_ = 0;

 protected:
  // incoming
  char *rbuf_ = nullptr, *rpos_ = nullptr, *rlast_ = nullptr, *rend_ = nullptr;

 private:
  Receiver receiver_;

  // outgoing
  Str unsent_;
  size_t send_size_ = 0;
  std::string owned_;
};

}  // namespace moonphase::engine
