// ngx.socket.udp's socket: a datagram socket with one peer, and one coroutine that may wait for its
// name or for a datagram. Lives in a Lua userdata; closes with its request, its collection, or
// close().
#pragma once

#include "engine/lua_ctx.h"
#include "engine/sockets/socket_pool.h"

namespace moonphase::engine {

class UdpSocket final : public LogContext {
 public:
  // As StreamSocket's.
  __attribute__((no_sanitize("vptr"))) static bool genuine(const UdpSocket* s) {
    return s->tag_ == &kTag;
  }

 private:
  static constexpr char kTag = 0;
  const void* tag_ = &kTag;

 public:
  static constexpr size_t kMaxDatagram = 65536;

  UdpSocket(http::Request* r, Generation* g);
  ~UdpSocket() override;
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  http::Request* request() const { return r_; }
  // A new life of the same object: another setpeername().
  void reset(http::Request* r);
  bool busy() const { return waiting_; }
  bool open() const { return stream_ != nullptr; }
  const void* address() const { return stream_; }

  int64_t read_timeout = 0;

  // kOk, kAgain (`return wait(L, socket->pending())`), kError; then push_peer pushes the results.
  Rc set_peer(Str host, int port, const sockaddr_storage* local, socklen_t local_len);
  int push_peer(lua_State* L);
  // As set_peer.
  Rc receive(size_t size);
  int push_received(lua_State* L);
  Pending* pending() { return &wait_; }
  // Sends at once: pushes the results.
  int send(lua_State* L, Str data);
  void close();

  char* append(char* p, char* end) const override;
  // Closed by Lua: its request has no more to do with it.
  void leave_request();

 private:
  struct Wait final : Pending {
    explicit Wait(UdpSocket* s) : socket(s) {}
    int results(lua_State* L) override { return socket->push_results(L); }
    void cancel() override { socket->close(); }
    UdpSocket* socket;
  };
  enum class Failure : uint8_t { kNone, kTimeout, kErrno, kResolver, kPartial };

  int push_results(lua_State* L) { return receiving_ ? push_received(L) : push_peer(L); }
  int push_failure(lua_State* L);
  Rc resolved(const net::ResolveResult& result);
  Rc dial();
  Rc fail(Failure why, int err = 0);
  Rc read();
  void log_failure(int level, int err, const char* text) const;
  static void on_readable(void* data);

  http::Request* r_ = nullptr;
  Generation* gen_;
  net::Loop* loop_;
  net::Stream* stream_ = nullptr;
  Arena::Cleanup* cleanup_ = nullptr;
  Peer peer_;
  int port_ = 0;
  sockaddr_storage local_{};
  socklen_t local_len_ = 0;
  net::Resolution* resolution_ = nullptr;
  Wait wait_;
  bool waiting_ = false;
  bool receiving_ = false;  // what is waited for, or was last asked: a datagram, or the peer
  net::Timer timer_{};
  Failure failure_ = Failure::kNone;
  int errno_ = 0;
  std::string resolve_error_;
  size_t size_ = 0;
  std::string datagram_;
};

}  // namespace moonphase::engine
