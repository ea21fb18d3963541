// Where requests are passed on to: groups of peers, and one request's way through a group (round
// robin with weights, failures, backups). A group belongs to its Plan, or to the request whose
// variable named it.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/plan.h"
#include "engine/upstream_keepalive.h"
#include "http/request.h"
#include "net/resolver.h"

namespace moonphase::engine {

using http::Request;

// One address. Weights and failures are as nginx counts them.
struct UpstreamPeer {
  std::string
      name;  // "127.0.0.1:80", "[::1]:80", "unix:/path": what log lines and $upstream_addr show
  std::string server;  // as configured
  sockaddr_storage addr{};
  socklen_t len = 0;
  int weight = 1, effective_weight = 1, current_weight = 0;
  int max_fails = 1, max_conns = 0, fails = 0, conns = 0;
  int64_t fail_timeout = 10;          // seconds
  int64_t accessed = 0, checked = 0;  // wall seconds
  bool down = false;
  SSL_SESSION* tls_session = nullptr;  // the last one, for the next connection
  UpstreamPeer() = default;
  UpstreamPeer(const UpstreamPeer&) = delete;
  UpstreamPeer& operator=(const UpstreamPeer&) = delete;
  ~UpstreamPeer();
};

struct PeerSet {
  std::vector<std::unique_ptr<UpstreamPeer>> peers;
  int usable() const;  // those that are not down
};

struct UpstreamGroup {
  std::string name;
  int port = 0;  // 0: of an `upstream` block
  const UpstreamPlan* plan = nullptr;
  PeerSet primary, backup;
  std::unique_ptr<UpstreamKeepalive> keepalive;  // null: each request has its own connection
  bool single() const { return primary.peers.size() == 1 && backup.peers.empty(); }
};

// The choices of one request. Trivially destructible: it lies in the request's arena.
class PeerWalk {
 public:
  void begin(Request* r, UpstreamGroup* group, int most_tries);
  // kOk: `current` is the next one to try; kBusy: nobody is left.
  int next();
  // The try is over. `failed`: the peer is to blame; else it was only not the right one.
  void release(bool failed);

  UpstreamGroup* group = nullptr;
  UpstreamPeer* current = nullptr;
  int tries = 0;

 private:
  UpstreamPeer* pick(PeerSet& set);
  Request* r_ = nullptr;
  PeerSet* set_ = nullptr;
  uint64_t* tried_ = nullptr;
};

// "127.0.0.1", "[::1]" or "::1", "unix:/path". False: a name.
bool literal_address(Str host, int port, sockaddr_storage* addr, socklen_t* len);
// The text of an address for log lines.
std::string address_name(const sockaddr_storage& addr);

// After `upstream` blocks are read: their groups, with names resolved as the configuration is
// loaded.
bool seal_upstreams(Plan& plan, std::string* error);
// All groups of a Plan: main_conf->module[kModUpstream]. Their peers' state changes while requests
// run.
using UpstreamGroups = std::vector<std::unique_ptr<UpstreamGroup>>;
UpstreamGroups& groups_of(const Plan& plan);
// The Plan ends: idle connections close now.
void close_idle_upstreams(const Plan& plan);
// The `upstream` of that name (any case), or null.
UpstreamGroup* find_group(const Plan& plan, Str host, int port, bool no_port);
// The same, made when it is not there. Null: `error` says why, with its place.
UpstreamGroup* group_for(Plan& plan, Str host, int port, bool no_port, const Where& where,
                         std::string* error);
// A group of a request's own, freed with it.
UpstreamGroup* make_group(Request* r, Str host, int port,
                          const std::vector<net::ResolvedAddress>& addresses);

}  // namespace moonphase::engine
