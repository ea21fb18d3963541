#include "engine/upstream/keepalive.h"

#include <strings.h>

#include <cstring>

#include "base/clock.h"

namespace moonphase::engine {

bool UpstreamKeepalive::serves(const Idle& idle, const KeepaliveKey& key) const {
  if (idle.len != key.len || std::memcmp(&idle.addr, key.addr, key.len) != 0) return false;
  if (idle.protocol != key.protocol || (local_ && idle.user != key.user)) return false;
  // A plain connection's key has no host, nor a place where it would be.
  if (idle.host.size() != key.host.size()) return false;
  if (!key.host.empty() && strncasecmp(idle.host.data(), key.host.data(), key.host.size()) != 0)
    return false;
  return !key.local || (idle.local_len == key.local_len &&
                        std::memcmp(&idle.local, key.local, key.local_len) == 0);
}

net::Stream* UpstreamKeepalive::take(const KeepaliveKey& key, UpstreamLink* link) {
  for (Idle& idle : idle_) {
    if (!serves(idle, key)) continue;
    net::Stream* stream = idle.stream;
    *link = idle.link;
    net::current_loop()->clear_timer(&idle.timer);
    taken_.splice(taken_.begin(), idle_, idle.place);
    return stream;
  }
  return nullptr;
}

void UpstreamKeepalive::put(net::Stream* stream, const KeepaliveKey& key, const UpstreamLink& link,
                            int64_t timeout_ms) {
  char byte;
  if (most_ <= 0 || stream->peek(&byte, 1) != net::kIoAgain) {
    close(stream);
    return;
  }
  if (static_cast<int>(idle_.size()) >= most_) drop(&idle_.back());
  if (taken_.empty()) taken_.emplace_front();
  idle_.splice(idle_.begin(), taken_, taken_.begin());
  Idle& idle = idle_.front();
  idle.place = idle_.begin();
  idle.cache = this;
  idle.stream = stream;
  std::memcpy(&idle.addr, key.addr, key.len);
  idle.len = key.len;
  idle.local_len = key.local ? key.local_len : 0;
  if (key.local) std::memcpy(&idle.local, key.local, key.local_len);
  idle.protocol = key.protocol;
  idle.user = key.user;
  idle.host = key.host;
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
  net::current_loop()->set_timer(&idle.timer, static_cast<uint64_t>(timeout_ms),
                                 timeout_ms < 5000 ? 1 : 300);
}

void UpstreamKeepalive::close(net::Stream* stream) {
  stream->close();
  if (log_ && log_->enabled(kLogDebug))
    log_write(*log_, nullptr, kLogDebug, 0, "lua balancer: keepalive closing connection %p",
              static_cast<void*>(stream));
}

void UpstreamKeepalive::drop(Idle* idle) {
  net::current_loop()->clear_timer(&idle->timer);
  net::Stream* stream = idle->stream;
  idle_.erase(idle->place);
  close(stream);
}

void UpstreamKeepalive::close_all() {
  while (!idle_.empty()) drop(&idle_.back());
}

}  // namespace moonphase::engine
