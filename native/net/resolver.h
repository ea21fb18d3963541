// Names to addresses without blocking the loop: by the servers of a `resolver` directive (own UDP
// client with a cache), or the system's way (getaddrinfo on libuv's threads: /etc/hosts, search
// domains) when there is none.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "net/loop.h"

namespace moonphase::net {

struct ResolverConf {
  std::vector<std::pair<std::string, int>>
      servers;        // numeric address, port; empty: the system's way
  int64_t valid = 0;  // ms an answer is kept; 0: its TTL
  bool ipv4 = true, ipv6 = true;
};

struct ResolvedAddress {
  sockaddr_storage addr;
  socklen_t len;
};

// nginx's numbers and words: 3 "Host not found", 110 "Operation timed out" …
struct ResolveResult {
  int code = 0;
  std::vector<ResolvedAddress> addresses;  // without ports
  int64_t until = 0;  // monotonic ms: the answer holds until then; 0: it says nothing of that
};
const char* resolve_strerror(int code);

class Resolution;

class Resolver {
 public:
  // Servers that cannot be reached are told of in `log` (may be null), which must outlive this.
  explicit Resolver(Loop* loop, const Log* log = nullptr);
  ~Resolver();  // pending lookups are dropped without an answer

  using Done = void (*)(void* data, const ResolveResult& result);
  // `done` is called once, inside a Loop::Scope, never before this returns; null when the answer is
  // at hand already
  // (`*now` has it).
  Resolution* resolve(const ResolverConf& conf, Str name, int64_t timeout_ms, Done done, void* data,
                      ResolveResult* now);
  // No answer any more.
  void cancel(Resolution* r);
  void clear_cache();

 private:
  struct Impl;
  friend class Resolution;
  Impl* impl_;
};

}  // namespace moonphase::net
