// Receiving and sending, whatever the connection.
#include "engine/sockets/stream_socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/blocks.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/sockets/peer.h"

namespace moonphase::engine {

StreamSocket::StreamSocket(Kind kind)
    : loop_(net::current_loop()),
      kind_(kind),
      read_wait_(this, &StreamSocket::push_received, &StreamSocket::cancel_read),
      write_wait_(this, &StreamSocket::push_sent, &StreamSocket::cancel_write) {
  read_timer_.data = write_timer_.data = this;
  read_timer_.fn = [](void* p) {
    auto* s = static_cast<StreamSocket*>(p);
    if (s->log_errors()) s->log_failure(kLogErr, 0, "lua tcp socket read timed out");
    s->read_fail(Failure::kTimeout);
    wake(&s->read_wait_);
  };
  write_timer_.fn = [](void* p) {
    auto* s = static_cast<StreamSocket*>(p);
    if (s->log_errors()) s->log_failure(kLogErr, 0, "lua tcp socket write timed out");
    s->write_fail(Failure::kTimeout);
    wake(&s->write_wait_);
  };
}

StreamSocket::~StreamSocket() {
  leave_request();
  put_block(rbuf_, static_cast<size_t>(rend_ - rbuf_));
}

void StreamSocket::leave_request() {
  if (cleanup_) r_->pool->forget(std::exchange(cleanup_, nullptr));
  r_ = nullptr;
}

void StreamSocket::start(http::Request* r) {
  if (r_ != r) {
    leave_request();
    if (const Arena::Cleanup* again = r->pool->forgotten())
      MOONPHASE_LOG(r, kLogDebug, 0, "lua http cleanup reuse: %p", static_cast<const void*>(again));
    cleanup_ = r->pool->on_destroy(
        [](void* p) {
          auto* s = static_cast<StreamSocket*>(p);
          s->cleanup_ = nullptr;
          s->close();
          s->r_ = nullptr;
        },
        this);
  }
  r_ = r;
  read_closed_ = write_closed_ = false;
  read_failure_ = write_failure_ = Failure::kNone;
  rpos_ = rlast_ = rbuf_;
  receiver_.drop();
  connection = r->conn ? r->conn->connection : 0;
}

bool StreamSocket::log_errors() const { return r_ && loc(r_)->lua.socket_log_errors; }

void StreamSocket::log_failure(int level, int err, const char* text) const {
  const Log& log = log_of(r_);
  if (log.enabled(level)) log_write(log, this, level, err, "%s", text);
}

int StreamSocket::push_failure(lua_State* L, Failure why, int err) const {
  lua_pushnil(L);
  switch (why) {
    case Failure::kTimeout:
      lua_pushliteral(L, "timeout");
      break;
    case Failure::kClosed:
      lua_pushliteral(L, "closed");
      break;
    case Failure::kAborted:
      lua_pushliteral(L, "client aborted");
      break;
    case Failure::kPoolFull:
      lua_pushliteral(L, "too many waiting connect operations");
      break;
    case Failure::kResolver:
      lua_pushlstring(L, error_text_.data(), error_text_.size());
      break;
    default:
      push_errno(L, err);
  }
  return 2;
}

// --- receiving ---

Rc StreamSocket::receive(Receiver::Mode mode, size_t size, UntilPattern* until) {
  read_failure_ = Failure::kNone;
  receiver_.start(mode, size, until);
  const Rc rc = read_more();
  if (rc == kAgain) {
    reading_ = true;
    want_read(true);
    loop_->set_timer(&read_timer_, static_cast<uint64_t>(read_timeout));
  }
  return rc;
}

Rc StreamSocket::read_more() {
  const Rc rc = gather();
  if (rc != kOk) return rc;
  push_back(receiver_.take_unmatched());
  const Failure why = received();
  return why == Failure::kNone ? rc : read_fail(why);
}

// Bytes that were read last are to be read again.
void StreamSocket::push_back(Str bytes) {
  const size_t n = bytes.size();
  if (n <= static_cast<size_t>(rpos_ - rbuf_)) {
    rpos_ -= n;
    return;
  }
  const auto rest = static_cast<size_t>(rlast_ - rpos_);
  const auto size = static_cast<size_t>(rend_ - rbuf_);
  const size_t at = static_cast<size_t>(rpos_ - rbuf_);
  if (n + rest > size) {
    auto* larger = static_cast<char*>(take_block(n + rest));
    put_bytes(larger + n, {rbuf_ + at, rest});
    put_block(rbuf_, size);
    rbuf_ = larger;
    rend_ = rbuf_ + n + rest;
  } else {
    std::memmove(rbuf_ + n, rbuf_ + at, rest);
  }
  std::memcpy(rbuf_, bytes.data(), n);
  rpos_ = rbuf_;
  rlast_ = rbuf_ + n + rest;
}

Rc StreamSocket::gather() {
  if (!rbuf_) {
    const size_t size = std::max<size_t>(loc(r_)->lua.socket_buffer_size, 1);
    rbuf_ = rpos_ = rlast_ = static_cast<char*>(take_block(size));
    rend_ = rbuf_ + size;
  }
  bool drained = false;
  while (true) {
    if (rpos_ != rlast_) {
      const char* p = rpos_;
      if (receiver_.any()) MOONPHASE_LOG(r_, kLogDebug, 0, "lua tcp socket read any");
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
      n = recv_bytes(out.data() + had, step);
      out.resize(had + (n > 0 ? static_cast<size_t>(n) : 0));
      if (n > 0) {
        receiver_.took(static_cast<size_t>(n));
        if (receiver_.satisfied()) return kOk;
        continue;
      }
    } else {
      rpos_ = rlast_ = rbuf_;
      const auto room = static_cast<size_t>(rend_ - rlast_);
      n = recv_bytes(rlast_, room);
      if (n > 0) {
        rlast_ += n;
        drained = static_cast<size_t>(n) < room && short_read_drains();
        continue;
      }
    }
    if (n == net::kIoAgain) return kAgain;
    if (n == 0) {
      const Failure why = end_of_stream();
      // The end answers "*a", this time and every time.
      if (why == Failure::kClosed && receiver_.complete_at_eof()) return kOk;
      return read_fail(why);
    }
    const int err = io_error();
    if (log_errors()) log_io(err, "recv() failed");
    return read_fail(Failure::kErrno, err);
  }
}

Rc StreamSocket::read_fail(Failure why, int err) {
  push_back(receiver_.take_unmatched());
  read_failure_ = why;
  read_errno_ = err;
  reading_ = false;
  loop_->clear_timer(&read_timer_);
  if (connected()) want_read(false);
  // A timeout leaves the stream usable; everything else ends its reading side.
  if (why != Failure::kTimeout) read_closed_ = true;
  return kError;
}

int StreamSocket::push_received(lua_State* L) {
  read_done();
  if (read_failure_ == Failure::kNone) {
    const Str s = receiver_.result();
    lua_pushlstring(L, s.data(), s.size());
    receiver_.drop();
    return 1;
  }
  const Failure why = read_failure_;
  read_failure_ = Failure::kNone;
  push_failure(L, why, read_errno_);
  const Str partial = receiver_.result();
  lua_pushlstring(L, partial.data(), partial.size());
  receiver_.drop();
  if (read_closed_ && write_closed_) drop();
  return 3;
}

void StreamSocket::stop_read() {
  reading_ = false;
  loop_->clear_timer(&read_timer_);
  if (connected()) want_read(false);
  receiver_.drop();
}

// The waiting coroutine is gone. What came in for it is lost, so nobody can go on here.
void StreamSocket::cancel_read() {
  stop_read();
  read_closed_ = true;
  if (!writing_) close();
}

void StreamSocket::cancel_write() {
  stop_write();
  if (!reading_) close();
}

void StreamSocket::readable() {
  if (!reading_) {
    want_read(false);
    return;
  }
  if (read_more() == kAgain) {
    loop_->set_timer(&read_timer_, static_cast<uint64_t>(read_timeout));
    return;
  }
  reading_ = false;
  loop_->clear_timer(&read_timer_);
  wake(&read_wait_);
}

// --- sending ---

Rc StreamSocket::send(Str data, std::string* owned) {
  before_send();
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
  want_write(true);
  loop_->set_timer(&write_timer_, static_cast<uint64_t>(send_timeout));
  return kAgain;
}

Rc StreamSocket::write_more() {
  while (!unsent_.empty()) {
    const ssize_t n = send_bytes(unsent_);
    if (n >= 0) {
      unsent_.remove_prefix(static_cast<size_t>(n));
      continue;
    }
    if (n == net::kIoAgain) return kAgain;
    const int err = io_error();
    if (log_errors()) log_io(err, "send() failed");
    return write_fail(Failure::kErrno, err);
  }
  return kOk;
}

Rc StreamSocket::write_fail(Failure why, int err) {
  write_failure_ = why;
  write_errno_ = err;
  write_closed_ = true;
  writing_ = false;
  loop_->clear_timer(&write_timer_);
  if (connected()) want_write(false);
  return kError;
}

int StreamSocket::push_sent(lua_State* L) {
  owned_ = std::string();
  if (write_failure_ == Failure::kNone) {
    lua_pushnumber(L, static_cast<lua_Number>(send_size_));
    return 1;
  }
  const Failure why = write_failure_;
  write_failure_ = Failure::kNone;
  const int n = push_failure(L, why, write_errno_);
  if (read_closed_ && write_closed_) drop();
  return n;
}

void StreamSocket::stop_write() {
  writing_ = false;
  loop_->clear_timer(&write_timer_);
  if (connected()) want_write(false);
  // Part of the data may be out: what comes behind it could not be told from it.
  write_closed_ = true;
  owned_ = std::string();
}

void StreamSocket::writable() {
  if (!writing_) {
    want_write(false);
    return;
  }
  if (write_more() == kAgain) {
    want_write(true);
    loop_->set_timer(&write_timer_, static_cast<uint64_t>(send_timeout), 300);
    return;
  }
  writing_ = false;
  loop_->clear_timer(&write_timer_);
  if (connected()) want_write(false);
  wake(&write_wait_);
}

}  // namespace moonphase::engine
