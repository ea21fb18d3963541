#include "engine/upstream_keepalive.h"

#include <cstring>

#include "base/clock.h"

namespace moonphase::engine {

net::Stream* UpstreamKeepalive::take(const sockaddr* addr, socklen_t len, const void* user,
                                     UpstreamLink* link) {
  for (Idle& idle : idle_) {
    if (idle.len != len || std::memcmp(&idle.addr, addr, len) != 0) continue;
    if (plan_->keepalive_local && idle.user != user) continue;
    net::Stream* stream = idle.stream;
    *link = idle.link;
    net::current_loop()->clear_timer(&idle.timer);
    idle_.erase(idle.place);
    return stream;
  }
  return nullptr;
}

void UpstreamKeepalive::put(net::Stream* stream, const sockaddr* addr, socklen_t len,
                            const void* user, const UpstreamLink& link) {
  char byte;
  if (plan_->keepalive <= 0 || link.requests >= plan_->keepalive_requests ||
      now().monotonic_ms - link.start_ms > plan_->keepalive_time ||
      stream->peek(&byte, 1) != net::kIoAgain) {
    stream->close();
    return;
  }
  if (static_cast<int>(idle_.size()) >= plan_->keepalive) drop(&idle_.back());
  Idle& idle = idle_.emplace_front();
  idle.place = idle_.begin();
  idle.cache = this;
  idle.stream = stream;
  std::memcpy(&idle.addr, addr, len);
  idle.len = len;
  idle.user = user;
  idle.link = link;
  idle.timer.data = &idle;
  idle.timer.fn = [](void* p) {
    auto* idle = static_cast<Idle*>(p);
    idle->cache->drop(idle);
  };
  // Whatever comes now, an end or bytes that nobody asked for, ends it.
  auto readable = [](void* p) {
    auto* idle = static_cast<Idle*>(p);
    char byte;
    if (idle->stream->peek(&byte, 1) != net::kIoAgain) idle->cache->drop(idle);
  };
  stream->set_events({readable, [](void*) {}}, &idle);
  stream->want_write(false);
  stream->want_read(true);
  net::current_loop()->set_timer(&idle.timer, static_cast<uint64_t>(plan_->keepalive_timeout), 300);
}

void UpstreamKeepalive::drop(Idle* idle) {
  net::current_loop()->clear_timer(&idle->timer);
  idle->stream->close();
  idle_.erase(idle->place);
}

void UpstreamKeepalive::close_all() {
  while (!idle_.empty()) drop(&idle_.back());
}

}  // namespace moonphase::engine
