#include "engine/sockets/req_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>

#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "http/body.h"
#include "http/output.h"

namespace moonphase::engine {

ReqSocket::ReqSocket(LuaCtx* ctx, bool raw)
    : StreamSocket(raw ? Kind::kRaw : Kind::kBody), ctx_(ctx) {
  const LuaLocConf& conf = loc(ctx->r)->lua;
  connect_timeout = conf.socket_connect_timeout;
  send_timeout = conf.socket_send_timeout;
  read_timeout = conf.socket_read_timeout;
  start(ctx->r);
  ctx->downstream = this;
  r_->conn->set_read_timeout(0);
  if (raw) r_->conn->set_write_timeout(0);
}

int ReqSocket::fd() const { return r_ && r_->conn->stream ? r_->conn->stream->fd() : -1; }

const void* ReqSocket::address() const { return connected() ? r_->conn : nullptr; }

bool ReqSocket::busy_writing() const {
  return writing_ || (kind_ == Kind::kRaw && connected() && lua_output_buffered(r_));
}

void ReqSocket::close() {
  if (reading_) stop_read();
  if (writing_) stop_write();
  drop();
}

void ReqSocket::drop() {
  if (dropped_) return;
  if (r_) MOONPHASE_LOG(r_, kLogDebug, 0, "lua finalize socket");
  if (ctx_ && ctx_->downstream == this) ctx_->downstream = nullptr;
  ctx_ = nullptr;
  dropped_ = true;
  rpos_ = rlast_ = rbuf_;
}

char* ReqSocket::append(char* p, char* end) const {
  return r_ && r_->conn ? r_->conn->append(p, end) : p;
}

// --- the connection ---

ssize_t ReqSocket::recv_bytes(void* buf, size_t n) {
  http::Connection* c = r_->conn;
  http::Body* body = r_->body;
  const bool is_body = kind_ == Kind::kBody;
  if (is_body) {
    if (body->rest <= 0) return 0;
    if (static_cast<int64_t>(n) > body->rest) n = static_cast<size_t>(body->rest);
  }
  const bool preread = !c->unread().empty();
  const ssize_t got = c->recv(buf, n);
  more_ = preread;
  if (got > 0 && is_body) {
    r_->request_length += got;
    body->rest -= got;
    if (body->rest == 0) more_ = true;
  }
  return got;
}

ssize_t ReqSocket::send_bytes(Str data) {
  Buf b{};
  b.start = b.pos = const_cast<char*>(data.data());
  b.end = b.last = b.pos + data.size();
  b.memory = true;
  Chain link{&b, nullptr};
  http::Connection* c = r_->conn;
  c->send(&link, 0);
  const ssize_t n = b.pos - b.start;
  if (n > 0) return n;
  return c->error ? net::kIoError : net::kIoAgain;
}

int ReqSocket::io_error() const {
  const int err = r_->conn->io_error();
  return err ? err : ECONNRESET;
}

void ReqSocket::want_read(bool on) {
  if (on) {
    ctx_->downstream = this;
    r_->read_event_handler = on_readable;
  }
  r_->conn->want_read(on);
}

void ReqSocket::want_write(bool on) {
  if (on) {
    ctx_->downstream = this;
    r_->write_event_handler = lua_write_event;
  }
  r_->conn->want_write(on);
}

void ReqSocket::before_send() {
  http::Connection* c = r_->conn;
  if (c->tcp_nodelay_set || !r_->loc->tcp_nodelay || c->peer.ss_family == AF_UNIX || fd() < 0)
    return;
  MOONPHASE_LOG(r_, kLogDebug, 0, "lua socket tcp_nodelay");
  const int on = 1;
  setsockopt(fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  c->tcp_nodelay_set = true;
}

StreamSocket::Failure ReqSocket::end_of_stream() {
  if (kind_ == Kind::kBody) return r_->body->rest > 0 ? Failure::kAborted : Failure::kClosed;
  return loc(r_)->lua.check_client_abort ? Failure::kAborted : Failure::kClosed;
}

// With the body's last byte, a client that has left is told from one that waits.
StreamSocket::Failure ReqSocket::received() {
  if (kind_ != Kind::kBody || unread() || r_->body->rest > 0) return Failure::kNone;
  if (!loc(r_)->lua.check_client_abort) return Failure::kNone;
  return lua_client_gone(r_) ? Failure::kAborted : Failure::kNone;
}

void ReqSocket::read_done() {
  if (!connected()) return;
  if (loc(r_)->lua.check_client_abort)
    lua_watch_client(ctx_);
  else
    r_->read_event_handler = http::block_reading;
}

void ReqSocket::log_io(int err, const char* text) const { log_failure(kLogInfo, err, text); }

void ReqSocket::on_readable(Request* r) {
  LuaCtx* ctx = ctx_of(r);
  if (ctx && ctx->downstream)
    ctx->downstream->readable();
  else
    http::block_reading(r);
}

bool ReqSocket::write_event() {
  if (!writing_) return false;
  writable();
  return true;
}

}  // namespace moonphase::engine
