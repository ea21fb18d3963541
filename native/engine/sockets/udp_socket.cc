#include "engine/sockets/udp_socket.h"

#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "engine/lifecycle.h"
#include "engine/runtime.h"

namespace moonphase::engine {

UdpSocket::UdpSocket(http::Request* r, Generation* g)
    : gen_(g), loop_(net::current_loop()), wait_(this) {
  timer_.data = this;
  timer_.fn = [](void* p) {
    auto* s = static_cast<UdpSocket*>(p);
    if (loc(s->r_)->lua.socket_log_errors)
      s->log_failure(kLogErr, 0, "lua udp socket read timed out");
    s->fail(Failure::kTimeout);
    wake(&s->wait_);
  };
  reset(r);
}

UdpSocket::~UdpSocket() {
  close();
  leave_request();
}

void UdpSocket::leave_request() {
  if (cleanup_) r_->pool->forget(std::exchange(cleanup_, nullptr));
  r_ = nullptr;
}

void UdpSocket::reset(http::Request* r) {
  close();
  if (r_ != r) {
    leave_request();
    cleanup_ = r->pool->on_destroy(
        [](void* p) {
          auto* s = static_cast<UdpSocket*>(p);
          s->cleanup_ = nullptr;
          s->close();
          s->r_ = nullptr;
        },
        this);
  }
  r_ = r;
  failure_ = Failure::kNone;
  connection = r->conn ? r->conn->connection : 0;
}

char* UdpSocket::append(char* p, char* end) const {
  const auto room = [&] { return static_cast<size_t>(end - p); };
  const auto advance = [&](int n) { p += std::clamp<int>(n, 0, static_cast<int>(end - p)); };
  advance(port_ ? std::snprintf(p, room(), ", upstream: %s:%d", peer_.host.c_str(), port_)
                : std::snprintf(p, room(), ", upstream: %s", peer_.host.c_str()));
  if (peer_.len) advance(std::snprintf(p, room(), "(%s)", address_text(peer_, false).c_str()));
  return r_ && r_->conn ? r_->conn->append(p, end) : p;
}

void UdpSocket::log_failure(int level, int err, const char* text) const {
  const Log& log = log_of(r_);
  if (log.enabled(level)) log_write(log, this, level, err, "%s", text);
}

Rc UdpSocket::fail(Failure why, int err) {
  failure_ = why;
  errno_ = err;
  waiting_ = false;
  loop_->clear_timer(&timer_);
  if (stream_) stream_->want_read(false);
  return kError;
}

int UdpSocket::push_failure(lua_State* L) {
  lua_pushnil(L);
  switch (failure_) {
    case Failure::kTimeout:
      lua_pushliteral(L, "timeout");
      break;
    case Failure::kPartial:
      lua_pushliteral(L, "partial write");
      break;
    case Failure::kResolver:
      lua_pushlstring(L, resolve_error_.data(), resolve_error_.size());
      break;
    default:
      push_errno(L, errno_);
  }
  failure_ = Failure::kNone;
  return 2;
}

// --- the peer ---

Rc UdpSocket::set_peer(Str host, int port, const sockaddr_storage* local, socklen_t local_len) {
  receiving_ = false;
  peer_ = Peer{};
  peer_.host.assign(host);
  port_ = port;
  if (local) local_ = *local;
  local_len_ = local ? local_len : 0;
  if (const char* why = bad_host(peer_.host)) {
    resolve_error_ = "failed to parse host name \"" + peer_.host + "\": " + why;
    return fail(Failure::kResolver);
  }
  if (literal_address(peer_.host, &peer_)) {
    set_port(&peer_.addr, port_);
    return dial();
  }
  net::ResolverConf conf;
  const LocConf* lc = loc(r_);
  if (lc->resolver) {
    conf.servers = lc->resolver->servers;
    conf.valid = lc->resolver->valid;
    conf.ipv4 = lc->resolver->ipv4;
    conf.ipv6 = lc->resolver->ipv6;
  }
  net::ResolveResult at_once;
  resolution_ = socket_pools(gen_).resolver.resolve(
      conf, peer_.host, lc->resolver_timeout,
      [](void* p, const net::ResolveResult& result) {
        auto* s = static_cast<UdpSocket*>(p);
        s->resolution_ = nullptr;
        s->waiting_ = false;
        s->resolved(result);
        wake(&s->wait_);
      },
      this, &at_once);
  if (!resolution_) return resolved(at_once);
  waiting_ = true;
  return kAgain;
}

Rc UdpSocket::resolved(const net::ResolveResult& result) {
  MOONPHASE_LOG(r_, kLogDebug, 0, "resolve name done: %d", result.code);
  if (result.code) {
    resolve_error_ = peer_.host + " could not be resolved (" + std::to_string(result.code) + ": " +
                     net::resolve_strerror(result.code) + ")";
    return fail(Failure::kResolver);
  }
  const net::ResolvedAddress& pick =
      result.addresses[result.addresses.size() == 1
                           ? 0
                           : static_cast<size_t>(random()) % result.addresses.size()];
  peer_.addr = pick.addr;
  peer_.len = pick.len;
  set_port(&peer_.addr, port_);
  return dial();
}

Rc UdpSocket::dial() {
  const int fd = socket(peer_.addr.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    const int err = errno;
    log_failure(kLogAlert, err, "socket() failed");
    return fail(Failure::kErrno, err);
  }
  const auto refuse = [&](const char* text) {
    const int err = errno;
    log_failure(kLogCrit, err, text);
    ::close(fd);
    return fail(Failure::kErrno, err);
  };
  if (peer_.addr.ss_family == AF_UNIX) {
    // An address of its own, made by the kernel: the peer can answer.
    sockaddr_un none{};
    none.sun_family = AF_UNIX;
    if (bind(fd, reinterpret_cast<sockaddr*>(&none), sizeof none.sun_family) != 0)
      return refuse("bind() failed");
  }
  if (local_len_ && bind(fd, reinterpret_cast<sockaddr*>(&local_), local_len_) != 0) {
    Peer from;
    from.addr = local_;
    from.len = local_len_;
    return refuse(("bind(" + address_text(from, false) + ") failed").c_str());
  }
  if (connect(fd, reinterpret_cast<sockaddr*>(&peer_.addr), peer_.len) != 0)
    return refuse("connect() failed");
  stream_ = net::Stream::open(loop_, fd, {on_readable, [](void*) {}}, this);
  if (!stream_) return fail(Failure::kErrno, errno);
  stream_->carries_datagrams();
  return kOk;
}

int UdpSocket::push_peer(lua_State* L) {
  if (failure_ != Failure::kNone) return push_failure(L);
  lua_pushinteger(L, 1);
  return 1;
}

// --- datagrams ---

int UdpSocket::send(lua_State* L, Str data) {
  failure_ = Failure::kNone;
  const iovec iov{const_cast<char*>(data.data()), data.size()};
  const ssize_t n = stream_->send(&iov, 1);
  MOONPHASE_LOG(r_, kLogDebug, 0, "send: fd:%d %zd of %zu", stream_->fd(), n, data.size());
  if (n < 0) {
    const int err = n == net::kIoAgain ? EAGAIN : stream_->error();
    if (n != net::kIoAgain) log_failure(error_level(err), err, "send() failed");
    fail(Failure::kErrno, err);
    return push_failure(L);
  }
  if (static_cast<size_t>(n) != data.size()) {
    fail(Failure::kPartial);
    return push_failure(L);
  }
  lua_pushinteger(L, 1);
  return 1;
}

Rc UdpSocket::receive(size_t size) {
  receiving_ = true;
  failure_ = Failure::kNone;
  size_ = std::min(size, kMaxDatagram);
  const Rc rc = read();
  if (rc != kAgain) return rc;
  waiting_ = true;
  stream_->want_read(true);
  loop_->set_timer(&timer_, static_cast<uint64_t>(read_timeout));
  return kAgain;
}

Rc UdpSocket::read() {
  static thread_local char buffer[kMaxDatagram];
  const ssize_t n = stream_->recv(buffer, size_);
  if (n >= 0) {
    datagram_.assign(buffer, static_cast<size_t>(n));
    return kOk;
  }
  if (n == net::kIoAgain) return kAgain;
  const int err = stream_->error();
  log_failure(error_level(err), err, "recv() failed");
  return fail(Failure::kErrno, err);
}

int UdpSocket::push_received(lua_State* L) {
  if (failure_ != Failure::kNone) return push_failure(L);
  lua_pushlstring(L, datagram_.data(), datagram_.size());
  datagram_ = std::string();
  return 1;
}

void UdpSocket::on_readable(void* data) {
  auto* s = static_cast<UdpSocket*>(data);
  if (!s->waiting_ || !s->receiving_) {
    s->stream_->want_read(false);
    return;
  }
  if (s->read() == kAgain) return;
  s->waiting_ = false;
  s->loop_->clear_timer(&s->timer_);
  wake(&s->wait_);
}

void UdpSocket::close() {
  loop_->clear_timer(&timer_);
  waiting_ = false;
  if (resolution_) {
    socket_pools(gen_).resolver.cancel(resolution_);
    resolution_ = nullptr;
  }
  if (stream_) {
    stream_->close();
    stream_ = nullptr;
  }
}

}  // namespace moonphase::engine
