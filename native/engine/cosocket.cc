// A cosocket's life, and its two directions once it is connected.
#include "engine/cosocket.h"

#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "engine/lifecycle.h"
#include "engine/runtime.h"

namespace moonphase::engine {
CoSocket::CoSocket(http::Request* r, Generation* g)
    : r_(nullptr),
      gen_(g),
      loop_(net::current_loop()),
      connect_wait_(this, &CoSocket::push_connected, &CoSocket::stop_connect),
      read_wait_(this, &CoSocket::push_received, &CoSocket::stop_read),
      write_wait_(this, &CoSocket::push_sent, &CoSocket::stop_write) {
  connect_timer_.data = read_timer_.data = write_timer_.data = this;
  connect_timer_.fn = [](void* p) {
    auto* s = static_cast<CoSocket*>(p);
    if (s->queued_) {
      std::erase(s->pool_->waiting, s);
      --s->pool_->connections;
      s->queued_ = false;
      if (s->log_errors())
        MOONPHASE_LOG(s->r_, kLogErr, 0,
                      "lua tcp socket queued connect timed out, when trying to connect to %s:%d",
                      s->peer_.host.c_str(), s->port_);
    } else if (s->log_errors()) {
      s->log_failure(kLogErr, ETIMEDOUT, "lua tcp socket connect timed out");
    }
    s->connect_fail(Failure::kTimeout);
    wake(&s->connect_wait_);
  };
  read_timer_.fn = [](void* p) {
    auto* s = static_cast<CoSocket*>(p);
    if (s->log_errors()) s->log_failure(kLogErr, 0, "lua tcp socket read timed out");
    s->read_fail(Failure::kTimeout);
    wake(&s->read_wait_);
  };
  write_timer_.fn = [](void* p) {
    auto* s = static_cast<CoSocket*>(p);
    if (s->log_errors()) s->log_failure(kLogErr, 0, "lua tcp socket write timed out");
    s->write_fail(Failure::kTimeout);
    wake(&s->write_wait_);
  };
  reset(r);
}

CoSocket::~CoSocket() {
  close();
  if (cleanup_) cleanup_->fn = nullptr;
  std::free(rbuf_);
}

void CoSocket::reset(http::Request* r) {
  if (stream_) close();
  if (r_ != r || !cleanup_ || !cleanup_->fn) {
    if (cleanup_) cleanup_->fn = nullptr;
    cleanup_ = r->pool->on_destroy(
        [](void* p) {
          auto* s = static_cast<CoSocket*>(p);
          s->cleanup_ = nullptr;
          s->close();
          s->r_ = nullptr;
        },
        this);
  }
  r_ = r;
  read_closed_ = write_closed_ = nodelay_set_ = false;
  connect_failure_ = read_failure_ = write_failure_ = Failure::kNone;
  reused_ = 0;
  pool_ = nullptr;
  counted_ = false;
  rpos_ = rlast_ = rbuf_;
  receiver_.drop();
  connection = r->conn ? r->conn->connection : 0;
}

bool CoSocket::log_errors() const { return r_ && loc(r_)->lua.socket_log_errors; }

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

void CoSocket::log_failure(int level, int err, const char* text) const {
  const Log& log = log_of(r_);
  if (log.enabled(level)) log_write(log, this, level, err, "%s", text);
}

int CoSocket::push_failure(lua_State* L, Failure why, int err) const {
  lua_pushnil(L);
  switch (why) {
    case Failure::kTimeout:
      lua_pushliteral(L, "timeout");
      break;
    case Failure::kClosed:
      lua_pushliteral(L, "closed");
      break;
    case Failure::kPoolFull:
      lua_pushliteral(L, "too many waiting connect operations");
      break;
    case Failure::kResolver:
    case Failure::kText:
      lua_pushlstring(L, resolve_error_.data(), resolve_error_.size());
      break;
    default: {
      if (!err) {
        lua_pushliteral(L, "error");
        break;
      }
      // Lower case, as LuaSocket has them.
      char text[128];
      const char* msg = strerrordesc_np(err);
      size_t n = 0;
      for (; msg && msg[n] && n < sizeof text; ++n)
        text[n] = static_cast<char>(std::tolower(static_cast<unsigned char>(msg[n])));
      lua_pushlstring(L, text, n);
    }
  }
  return 2;
}

// --- receiving ---

Rc CoSocket::receive(Receiver::Mode mode, size_t size, UntilPattern* until) {
  read_failure_ = Failure::kNone;
  receiver_.start(mode, size, until);
  const Rc rc = read_more();
  if (rc == kAgain) {
    reading_ = true;
    stream_->want_read(true);
    loop_->set_timer(&read_timer_, static_cast<uint64_t>(read_timeout));
  }
  return rc;
}

Rc CoSocket::read_more() {
  if (!rbuf_) {
    const size_t size = std::max<size_t>(loc(r_)->lua.socket_buffer_size, 1);
    rbuf_ = rpos_ = rlast_ = static_cast<char*>(std::malloc(size));
    if (!rbuf_) std::abort();
    rend_ = rbuf_ + size;
  }
  bool drained = false;
  while (true) {
    if (rpos_ != rlast_) {
      const char* p = rpos_;
      const Rc rc = receiver_.feed(&p, rlast_);
      rpos_ += p - rpos_;
      if (rc != kAgain) return rc;
    } else if (receiver_.direct() == 0 && receiver_.gathered().empty()) {
      // Nothing to feed, but a read of no bytes at all is complete.
      const char* p = rpos_;
      if (receiver_.feed(&p, p) == kOk) return kOk;
    }
    if (drained) return kAgain;
    ssize_t n;
    if (const size_t want = receiver_.direct()) {
      std::string& out = receiver_.gathered();
      const size_t had = out.size();
      const size_t step = std::min<size_t>(want, 1 << 20);
      out.resize(had + step);
      n = stream_->recv(out.data() + had, step);
      out.resize(had + (n > 0 ? static_cast<size_t>(n) : 0));
      if (n > 0) {
        receiver_.took(static_cast<size_t>(n));
        if (receiver_.satisfied()) return kOk;
        continue;
      }
    } else {
      rpos_ = rlast_ = rbuf_;
      const auto room = static_cast<size_t>(rend_ - rlast_);
      n = stream_->recv(rlast_, room);
      if (n > 0) {
        rlast_ += n;
        drained = static_cast<size_t>(n) < room;
        continue;
      }
    }
    if (n == net::kIoAgain) return kAgain;
    if (n == 0) {
      // The end answers "*a", this time and every time.
      if (receiver_.complete_at_eof()) return kOk;
      read_closed_ = true;
      return read_fail(Failure::kClosed);
    }
    const int err = stream_->error();
    if (log_errors()) log_failure(kLogErr, err, "recv() failed");
    return read_fail(Failure::kErrno, err);
  }
}

Rc CoSocket::read_fail(Failure why, int err) {
  read_failure_ = why;
  read_errno_ = err;
  reading_ = false;
  loop_->clear_timer(&read_timer_);
  if (stream_) stream_->want_read(false);
  // A timeout leaves the stream usable; everything else ends its reading side.
  if (why != Failure::kTimeout) read_closed_ = true;
  return kError;
}

int CoSocket::push_received(lua_State* L) {
  if (read_failure_ == Failure::kNone) {
    const Str s = receiver_.result();
    lua_pushlstring(L, s.data(), s.size());
    receiver_.drop();
    return 1;
  }
  const Failure why = read_failure_;
  read_failure_ = Failure::kNone;
  push_failure(L, why, read_errno_);
  lua_pushlstring(L, receiver_.partial().data(), receiver_.partial().size());
  receiver_.drop();
  if (read_closed_ && write_closed_) drop_stream();
  return 3;
}

void CoSocket::stop_read() {
  reading_ = false;
  loop_->clear_timer(&read_timer_);
  if (stream_) stream_->want_read(false);
  receiver_.drop();
}

void CoSocket::on_readable(void* data) {
  auto* s = static_cast<CoSocket*>(data);
  if (s->connecting_) return;  // `writable` comes as well
  if (!s->reading_) {
    s->stream_->want_read(false);
    return;
  }
  if (s->read_more() == kAgain) {
    s->loop_->set_timer(&s->read_timer_, static_cast<uint64_t>(s->read_timeout), 300);
    return;
  }
  s->reading_ = false;
  s->loop_->clear_timer(&s->read_timer_);
  wake(&s->read_wait_);
}

// --- sending ---

Rc CoSocket::send(Str data, std::string* owned) {
  if (!nodelay_set_ && loc(r_)->tcp_nodelay && peer_.addr.ss_family != AF_UNIX) {
    const int on = 1;
    setsockopt(stream_->fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    nodelay_set_ = true;
  }
  write_failure_ = Failure::kNone;
  send_size_ = data.size();
  unsent_ = data;
  const Rc rc = write_more();
  if (rc != kAgain) return rc;
  if (owned) {
    const size_t gone = send_size_ - unsent_.size();
    owned_ = std::move(*owned);
    unsent_ = Str(owned_).substr(gone);
  }
  writing_ = true;
  stream_->want_write(true);
  loop_->set_timer(&write_timer_, static_cast<uint64_t>(send_timeout));
  return kAgain;
}

Rc CoSocket::write_more() {
  while (!unsent_.empty()) {
    const iovec iov{const_cast<char*>(unsent_.data()), unsent_.size()};
    const ssize_t n = stream_->send(&iov, 1);
    if (n >= 0) {
      unsent_.remove_prefix(static_cast<size_t>(n));
      continue;
    }
    if (n == net::kIoAgain) return kAgain;
    const int err = stream_->error();
    if (log_errors())
      log_failure(error_level(err) == kLogCrit ? kLogErr : error_level(err), err, "send() failed");
    return write_fail(Failure::kErrno, err);
  }
  return kOk;
}

Rc CoSocket::write_fail(Failure why, int err) {
  write_failure_ = why;
  write_errno_ = err;
  write_closed_ = true;
  writing_ = false;
  loop_->clear_timer(&write_timer_);
  if (stream_) stream_->want_write(false);
  return kError;
}

int CoSocket::push_sent(lua_State* L) {
  owned_ = std::string();
  if (write_failure_ == Failure::kNone) {
    lua_pushnumber(L, static_cast<lua_Number>(send_size_));
    return 1;
  }
  const Failure why = write_failure_;
  write_failure_ = Failure::kNone;
  const int n = push_failure(L, why, write_errno_);
  if (read_closed_ && write_closed_) drop_stream();
  return n;
}

void CoSocket::stop_write() {
  writing_ = false;
  loop_->clear_timer(&write_timer_);
  if (stream_) stream_->want_write(false);
  // Part of the data may be out: what comes behind it could not be told from it.
  write_closed_ = true;
  owned_ = std::string();
}

void CoSocket::on_writable(void* data) {
  auto* s = static_cast<CoSocket*>(data);
  if (s->connecting_) {
    s->dialled(true);
    wake(&s->connect_wait_);
    return;
  }
  if (!s->writing_) {
    s->stream_->want_write(false);
    return;
  }
  if (s->write_more() == kAgain) {
    s->loop_->set_timer(&s->write_timer_, static_cast<uint64_t>(s->send_timeout), 300);
    return;
  }
  s->writing_ = false;
  s->loop_->clear_timer(&s->write_timer_);
  if (s->stream_) s->stream_->want_write(false);
  wake(&s->write_wait_);
}

// --- the end ---

bool CoSocket::at_eof() {
  char byte;
  return stream_->peek(&byte, 1) == 0;
}

const char* CoSocket::keepalive(SocketPool* pool, int64_t keep_ms) {
  SocketPools& pools = socket_pools(gen_);
  if (pools.closing || gen_->exiting) {
    close();
    return nullptr;
  }
  auto idle = std::make_unique<IdleConnection>();
  idle->stream = stream_;
  idle->peer = peer_;
  idle->reused = reused_;
  stream_ = nullptr;
  if (!counted_ || pool_ != pool) {
    if (counted_) --pool_->connections;
    ++pool->connections;
  }
  counted_ = false;
  const bool kept = pool->put(std::move(idle), keep_ms);
  if (!kept) --pool->connections;
  pool_ = nullptr;
  drop_stream();
  pool->admit();
  return kept ? nullptr : "connection in dubious state";
}

void CoSocket::drop_stream() {
  if (stream_) {
    stream_->close();
    stream_ = nullptr;
  }
  rpos_ = rlast_ = rbuf_;
  if (counted_) {
    counted_ = false;
    --pool_->connections;
    pool_->admit();
  }
}

void CoSocket::close() {
  if (connecting_) stop_connect();
  if (reading_) stop_read();
  if (writing_) stop_write();
  drop_stream();
}

}  // namespace moonphase::engine
