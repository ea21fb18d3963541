// How a cosocket comes by its connection: from its pool, or resolved and dialled.
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/sockets/cosocket.h"

namespace moonphase::engine {

Rc CoSocket::connect(Str host, int port, SocketPool* pool, const sockaddr_storage* local,
                     socklen_t local_len, bool transparent) {
  peer_ = Peer{};
  constexpr size_t kHostMax = 255;
  peer_.host.assign(host.size() <= kHostMax ? host : host.substr(0, kHostMax));
  if (host.size() > kHostMax) peer_.host.append("...");
  port_ = port;
  pool_ = pool;
  if (local) local_ = *local;
  local_len_ = local ? local_len : 0;
  transparent_ = transparent;
  if (pool) {
    if (std::optional<KeptConnection> kept = pool->take()) {
      attach(std::move(*kept));
      return kOk;
    }
    ++pool->connections;
    counted_ = true;
    if (pool->backlog() >= 0) {
      if (pool->connections > pool->size() + pool->backlog())
        return connect_fail(Failure::kPoolFull);
      if (pool->connections > pool->size()) {
        MOONPHASE_LOG(
            r_, kLogDebug, 0,
            "lua tcp socket queue connect operation for connection pool \"%s\", connections: %d",
            pool->key().c_str(), pool->connections);
        connecting_ = queued_ = true;
        counted_ = false;  // the queue holds the count
        pool->waiting.push_back(this);
        loop_->set_timer(&connect_timer_, static_cast<uint64_t>(connect_timeout));
        return kAgain;
      }
    }
  }
  return resolve();
}

void CoSocket::attach(KeptConnection kept) {
  MOONPHASE_LOG(r_, kLogDebug, 0, "lua tcp socket get keepalive peer: using connection %p, fd:%d",
                static_cast<void*>(kept.stream), kept.stream->fd());
  stream_ = kept.stream;
  peer_ = std::move(kept.peer);
  reused_ = kept.reused + 1;
  nodelay_set_ = true;
  counted_ = true;
  stream_->set_events({on_readable, on_writable}, this);
  if (stream_->tls) stream_->tls->set_owner(this);
  stream_->want_read(false);
}

void CoSocket::resume_connect() {
  queued_ = false;
  loop_->clear_timer(&connect_timer_);
  Rc rc;
  if (std::optional<KeptConnection> kept = pool_->take()) {
    attach(std::move(*kept));
    rc = kOk;
  } else {
    ++pool_->connections;
    counted_ = true;
    rc = resolve();
  }
  if (rc == kAgain) return;
  connecting_ = false;
  wake(&connect_wait_);
}

Rc CoSocket::resolve() {
  MOONPHASE_LOG(r_, kLogDebug, 0, "lua tcp socket connect timeout: %lld",
                static_cast<long long>(connect_timeout));
  if (const char* why = bad_host(peer_.host)) {
    error_text_ = "failed to parse host name \"" + peer_.host + "\": " + why;
    return connect_fail(Failure::kResolver);
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
  auto answered = [](CoSocket* s, const net::ResolveResult& result) -> Rc {
    MOONPHASE_LOG(s->r_, kLogDebug, 0, "resolve name done: %d", result.code);
    if (result.code) {
      s->error_text_ = s->peer_.host + " could not be resolved (" + std::to_string(result.code) +
                       ": " + net::resolve_strerror(result.code) + ")";
      return s->connect_fail(Failure::kResolver);
    }
    const net::ResolvedAddress& pick =
        result.addresses[result.addresses.size() == 1
                             ? 0
                             : static_cast<size_t>(random()) % result.addresses.size()];
    s->peer_.addr = pick.addr;
    s->peer_.len = pick.len;
    set_port(&s->peer_.addr, s->port_);
    return s->dial();
  };
  connecting_ = true;
  static Rc (*const on_answer)(CoSocket*, const net::ResolveResult&) = answered;
  resolution_ = socket_pools(gen_).resolver.resolve(
      conf, peer_.host, lc->resolver_timeout,
      [](void* p, const net::ResolveResult& result) {
        auto* s = static_cast<CoSocket*>(p);
        s->resolution_ = nullptr;
        if (on_answer(s, result) == kAgain) return;
        s->connecting_ = false;
        wake(&s->connect_wait_);
      },
      this, &at_once);
  if (resolution_) return kAgain;
  const Rc rc = answered(this, at_once);
  if (rc != kAgain) connecting_ = false;
  return rc;
}

Rc CoSocket::dial() {
  bool bound = true;
  stream_ = net::Stream::connect(loop_, reinterpret_cast<sockaddr*>(&peer_.addr), peer_.len,
                                 local_len_ ? reinterpret_cast<sockaddr*>(&local_) : nullptr,
                                 local_len_, {on_readable, on_writable}, this, &bound);
  if (!stream_) {
    const int err = errno;
    if (!bound) {
      Peer from;
      from.addr = local_;
      log_failure(kLogCrit, err,
                  ("bind(" + address_text(from, port_of(from)) + ") failed").c_str());
      return connect_fail(Failure::kErrno, err);
    }
    const Log& log = log_of(r_);
    const int level = error_level(err);
    if (log.enabled(level))
      log_write(log, this, level, err, "connect() to %s failed", address_text(peer_, true).c_str());
    return connect_fail(Failure::kErrno, err);
  }
  connecting_ = true;
  stream_->want_write(true);
  loop_->set_timer(&connect_timer_, static_cast<uint64_t>(connect_timeout));
  return kAgain;
}

Rc CoSocket::dialled() {
  loop_->clear_timer(&connect_timer_);
  const int err = stream_->connect_error();
  connecting_ = false;
  if (err) {
    if (log_errors()) log_io(err, "connect() failed");
    return connect_fail(Failure::kErrno, err);
  }
  stream_->want_write(false);
  return kOk;
}

Rc CoSocket::connect_fail(Failure why, int err) {
  connect_failure_ = why;
  connect_errno_ = err;
  connecting_ = false;
  loop_->clear_timer(&connect_timer_);
  drop();
  return kError;
}

int CoSocket::push_connected(lua_State* L) {
  if (connect_failure_ == Failure::kNone) {
    lua_pushinteger(L, 1);
    return 1;
  }
  const Failure why = connect_failure_;
  connect_failure_ = Failure::kNone;
  return push_failure(L, why, connect_errno_);
}

void CoSocket::cancel_connect() {
  if (stream_) MOONPHASE_LOG(r_, kLogDebug, 0, "lua finalize socket");
  stop_connect();
}

void CoSocket::stop_connect() {
  if (queued_) {
    MOONPHASE_LOG(r_, kLogDebug, 0, "lua tcp socket abort queueing, u: %p",
                  static_cast<void*>(this));
    std::erase(pool_->waiting, this);
    queued_ = false;
    std::exchange(pool_, nullptr)->release();
  }
  if (resolution_) {
    MOONPHASE_LOG(r_, kLogDebug, 0, "lua tcp socket abort resolver");
    MOONPHASE_LOG(r_, kLogDebug, 0, "resolve name done: %d", kAgain);
    socket_pools(gen_).resolver.cancel(resolution_);
    resolution_ = nullptr;
  }
  connecting_ = false;
  loop_->clear_timer(&connect_timer_);
  drop();
}

}  // namespace moonphase::engine
