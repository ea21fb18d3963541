// Idle connections to the servers of one upstream group, as nginx's `keepalive` and
// balancer_by_lua's enable_keepalive keep them: the one used last is taken first, the one used
// least recently goes when there are too many.
#pragma once

#include <sys/socket.h>

#include <list>
#include <string>

#include "base/log.h"
#include "engine/plan.h"
#include "net/stream.h"

namespace moonphase::engine {

// What is known of a connection besides its socket.
struct UpstreamLink {
  int requests = 0;
  int64_t start_ms = 0;  // monotonic
};

// Which connections serve: those to the same address with the same name for TLS, of the same local
// address, that speak the same.
struct KeepaliveKey {
  const sockaddr* addr = nullptr;
  socklen_t len = 0;
  const void* protocol = nullptr;
  const void* user = nullptr;  // whose they are, where they are not everybody's
  Str host;
  const sockaddr* local = nullptr;
  socklen_t local_len = 0;
};

class UpstreamKeepalive {
 public:
  // `local`: kept for the location that opened them only. `closes`: where Lua's are told of.
  UpstreamKeepalive(int most, bool local, const Log* closes = nullptr)
      : most_(most), local_(local), log_(closes) {}
  ~UpstreamKeepalive() { close_all(); }
  UpstreamKeepalive(const UpstreamKeepalive&) = delete;
  UpstreamKeepalive& operator=(const UpstreamKeepalive&) = delete;

  // A connection, or null.
  net::Stream* take(const KeepaliveKey& key, UpstreamLink* link);
  // Takes the connection, or closes it when it is not fit to be kept.
  void put(net::Stream* stream, const KeepaliveKey& key, const UpstreamLink& link,
           int64_t timeout_ms);
  void close_all();

 private:
  struct Idle {
    UpstreamKeepalive* cache;
    net::Stream* stream;
    sockaddr_storage addr, local;
    socklen_t len, local_len;
    const void *protocol, *user;
    std::string host;
    UpstreamLink link;
    net::Timer timer{};
    std::list<Idle>::iterator place;
  };
  bool serves(const Idle& idle, const KeepaliveKey& key) const;
  void drop(Idle* idle);
  void close(net::Stream* stream);
  int most_;
  bool local_;
  const Log* log_;
  std::list<Idle> idle_;   // the front was used last
  std::list<Idle> taken_;  // nodes without a connection, for the next ones
};

}  // namespace moonphase::engine
