// A cosocket's life: from one connect() to the next, into a pool, or closed.
#include "engine/sockets/cosocket.h"

#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/error_level.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"

namespace moonphase::engine {

CoSocket::CoSocket(http::Request* r, Generation* g)
    : StreamSocket(Kind::kOwn),
      gen_(g),
      connect_wait_(this, &CoSocket::push_connected, &CoSocket::cancel_connect),
      handshake_wait_(this, &CoSocket::push_handshake, &CoSocket::cancel_handshake) {
  handshake_timer_.data = this;
  handshake_timer_.fn = [](void* p) {
    auto* s = static_cast<CoSocket*>(p);
    s->handshake_fail("timeout");
    wake(&s->handshake_wait_);
  };
  connect_timer_.data = this;
  connect_timer_.fn = [](void* p) {
    auto* s = static_cast<CoSocket*>(p);
    if (s->queued_) {
      std::erase(s->pool_->waiting, s);
      s->queued_ = false;
      std::exchange(s->pool_, nullptr)->release();
      if (s->log_errors())
        MOONPHASE_LOG(s->r_, kLogErr, 0,
                      "lua tcp socket queued connect timed out, when trying to connect to %s:%d",
                      s->peer_.host.c_str(), s->port_);
    } else if (s->log_errors()) {
      s->log_failure(kLogErr, 0, "lua tcp socket connect timed out");
    }
    s->connect_fail(Failure::kTimeout);
    wake(&s->connect_wait_);
  };
  start(r);
}

CoSocket::~CoSocket() {
  close();
  set_trusted_store(nullptr);
  forget_session();
}

void CoSocket::reset(http::Request* r) {
  if (stream_) close();
  start(r);
  nodelay_set_ = false;
  connect_failure_ = Failure::kNone;
  reused_ = 0;
  pool_ = nullptr;
  counted_ = false;
}

char* CoSocket::append(char* p, char* end) const {
  const int port = port_of(peer_);
  const std::string addr = peer_.len ? address_text(peer_, false) : std::string();
  const auto room = static_cast<size_t>(end - p);
  int n = port ? std::snprintf(p, room, ", upstream: %s:%d", peer_.host.c_str(), port)
               : std::snprintf(p, room, ", upstream: %s", peer_.host.c_str());
  p += std::clamp<int>(n, 0, static_cast<int>(room));
  if (!addr.empty()) {
    n = std::snprintf(p, static_cast<size_t>(end - p), "(%s)", addr.c_str());
    p += std::clamp<int>(n, 0, static_cast<int>(end - p));
  }
  return r_ && r_->conn ? r_->conn->append(p, end) : p;
}

// Only a connection out of a pool has its peer in these lines.
void CoSocket::log_io(int err, const char* text) const {
  const int level = moonphase::error_level(err, kLogErr, kLogAlert);
  if (reused_)
    log_failure(level, err, text);
  else
    MOONPHASE_LOG(r_, level, err, "%s", text);
}

ssize_t CoSocket::send_bytes(Str data) {
  const iovec iov{const_cast<char*>(data.data()), data.size()};
  return stream_->send(&iov, 1);
}

void CoSocket::before_send() {
  if (nodelay_set_ || !loc(r_)->tcp_nodelay || peer_.addr.ss_family == AF_UNIX) return;
  MOONPHASE_LOG(r_, kLogDebug, 0, "lua socket tcp_nodelay");
  const int on = 1;
  setsockopt(stream_->fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  nodelay_set_ = true;
}

void CoSocket::on_readable(void* data) {
  auto* s = static_cast<CoSocket*>(data);
  if (s->handshaking_) {
    if (s->handshake_step() != kAgain) wake(&s->handshake_wait_);
    return;
  }
  if (!s->connecting_) s->readable();  // else `writable` comes as well
}

void CoSocket::on_writable(void* data) {
  auto* s = static_cast<CoSocket*>(data);
  if (s->handshaking_) {
    if (s->handshake_step() != kAgain) wake(&s->handshake_wait_);
    return;
  }
  if (!s->connecting_) {
    s->writable();
    return;
  }
  s->dialled();
  wake(&s->connect_wait_);
}

const char* CoSocket::unfit_for_pool() {
  char byte;
  switch (stream_->peek(&byte, 1)) {
    case net::kIoAgain:
      return nullptr;
    case 0:
      return "closed";
    default:
      close();
      return "connection in dubious state";
  }
}

void CoSocket::keepalive(SocketPool* pool, int64_t keep_ms) {
  SocketPools& pools = socket_pools(gen_);
  if (pools.closing || gen_->exiting) {
    MOONPHASE_LOG(r_, kLogDebug, 0,
                  "lua tcp socket set keepalive while process exiting, closing connection %p",
                  static_cast<void*>(stream_));
    close();
    return;
  }
  if (stream_->tls) stream_->tls->set_owner(nullptr);
  KeptConnection kept{std::exchange(stream_, nullptr), peer_, reused_};
  if (!counted_ || pool_ != pool) {
    ++pool->connections;
    if (counted_) pool_->release();
  }
  counted_ = false;
  pool_ = nullptr;
  if (keep_ms)
    MOONPHASE_LOG(r_, kLogDebug, 0, "lua tcp socket keepalive timeout: %lld ms",
                  static_cast<long long>(keep_ms));
  else
    MOONPHASE_LOG(r_, kLogDebug, 0, "lua tcp socket keepalive timeout: unlimited");
  pool->put(std::move(kept), keep_ms);
  drop();
  pool->admit();
}

void CoSocket::drop() {
  if (stream_) {
    stream_->close();
    stream_ = nullptr;
  }
  rpos_ = rlast_ = rbuf_;
  if (counted_) {
    counted_ = false;
    std::exchange(pool_, nullptr)->release();
  }
}

void CoSocket::close() {
  if (stream_) MOONPHASE_LOG(r_, kLogDebug, 0, "lua finalize socket");
  if (handshaking_) handshake_fail("closed");
  if (connecting_) stop_connect();
  if (reading_) stop_read();
  if (writing_) stop_write();
  drop();
}

}  // namespace moonphase::engine
