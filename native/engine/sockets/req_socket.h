// ngx.req.socket: the client's connection in Lua's hands. Either the request's body, or (raw)
// whatever comes, and the answer too.
#pragma once

#include "engine/sockets/stream_socket.h"

namespace moonphase::engine {

class ReqSocket final : public StreamSocket {
 public:
  // The request's body is taken, or its connection; the checks were made before.
  ReqSocket(LuaCtx* ctx, bool raw);
  ~ReqSocket() override { close(); }

  bool connected() const override { return r_ && !dropped_; }
  int fd() const override;
  const void* address() const override;
  bool busy_writing() const override;
  void close() override;
  char* append(char* p, char* end) const override;
  bool write_event();  // the client takes more; false: nobody waits for that here

 private:
  ssize_t recv_bytes(void* buf, size_t n) override;
  ssize_t send_bytes(Str data) override;
  int io_error() const override;
  void want_read(bool on) override;
  void want_write(bool on) override;
  void before_send() override;
  void drop() override;
  bool short_read_drains() const override { return !more_; }
  Failure end_of_stream() override;
  Failure received() override;
  void read_done() override;
  void log_io(int err, const char* text) const override;
  static void on_readable(http::Request* r);

  LuaCtx* ctx_;
  bool dropped_ = false;
  bool more_ =
      false;  // the last bytes were read before; behind them may be more, or the body's end
};

}  // namespace moonphase::engine
