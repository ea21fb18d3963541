// Idle connections to the servers of one upstream group, as nginx's `keepalive` keeps them: the one
// used last is taken first, the one used least recently goes when there are too many.
#pragma once

#include <sys/socket.h>

#include <list>

#include "engine/plan.h"
#include "net/stream.h"

namespace moonphase::engine {

// What is known of a connection besides its socket.
struct UpstreamLink {
  int requests = 0;
  int64_t start_ms = 0;  // monotonic
};

class UpstreamKeepalive {
 public:
  explicit UpstreamKeepalive(const UpstreamPlan* plan) : plan_(plan) {}
  ~UpstreamKeepalive() { close_all(); }
  UpstreamKeepalive(const UpstreamKeepalive&) = delete;
  UpstreamKeepalive& operator=(const UpstreamKeepalive&) = delete;

  // A connection to that address, or null. `user`: the location's configuration, which matters
  // where connections are kept for the location that opened them only.
  net::Stream* take(const sockaddr* addr, socklen_t len, const void* user, UpstreamLink* link);
  // Takes the connection, or closes it when it may not be kept.
  void put(net::Stream* stream, const sockaddr* addr, socklen_t len, const void* user,
           const UpstreamLink& link);
  void close_all();

 private:
  struct Idle {
    UpstreamKeepalive* cache;
    net::Stream* stream;
    sockaddr_storage addr;
    socklen_t len;
    const void* user;
    UpstreamLink link;
    net::Timer timer{};
    std::list<Idle>::iterator place;
  };
  void drop(Idle* idle);
  const UpstreamPlan* plan_;
  std::list<Idle> idle_;  // the front was used last
};

}  // namespace moonphase::engine
