// Where requests are passed on to: groups of peers, and one request's way through a group (by the
// group's method, with failures and backups). A group belongs to its Plan, to the zone that it was
// added to at run time, or to the request whose variable named it.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/plan.h"
#include "engine/upstream/keepalive.h"
#include "http/request.h"
#include "net/resolver.h"
#include "shm/peer_zone.h"

namespace moonphase::engine {

using http::Request;
using shm::PeerState;

// One address. Weights and failures are as nginx counts them.
struct UpstreamPeer {
  std::string
      name;  // "127.0.0.1:80", "[::1]:80", "unix:/path": what log lines and $upstream_addr show
  std::string server;  // as configured
  sockaddr_storage addr{};
  socklen_t len = 0;
  PeerState own;      // without a zone
  uint32_t slot = 0;  // in the zone
  uint64_t id = 0;
  bool backup = false, resolved = false;
  SSL_SESSION* tls_session = nullptr;  // the last one, for the next connection
  UpstreamPeer() = default;
  UpstreamPeer(const UpstreamPeer&) = delete;
  UpstreamPeer& operator=(const UpstreamPeer&) = delete;
  ~UpstreamPeer();
};

// One version of a group's servers. Counted: the group has the current one, each request that goes
// through it its own.
struct Peers {
  struct Set {
    std::vector<std::shared_ptr<UpstreamPeer>> peers;
    int total_weight = 0;
    std::vector<int> ranges;  // `random`: the sum of the weights before each
  };
  struct Point {  // `hash … consistent`
    uint32_t hash;
    const std::string* server;
  };
  Set primary, backup;
  std::vector<Point> points;
  bool placeholder = false;  // balancer_by_lua without servers: nobody to go to but Lua's choice
  int refs = 1;
  bool single() const { return primary.peers.size() == 1 && backup.peers.empty(); }
};
void release(Peers* peers);

struct UpstreamGroup {
  std::string name;
  int port = 0;  // 0: of an `upstream` block
  const UpstreamPlan* plan = nullptr;
  std::unique_ptr<UpstreamPlan> own_plan;            // of a group that was added at run time
  Peers* peers = nullptr;                            // null: it has been removed
  std::unique_ptr<UpstreamKeepalive> keepalive;      // null: each request has its own connection
  std::unique_ptr<UpstreamKeepalive> lua_keepalive;  // balancer_by_lua's
  UpstreamZone* zone = nullptr;
  uint64_t version = 0;  // of the zone's list that `peers` shows
  UpstreamMethod method() const { return plan ? plan->method : UpstreamMethod::kRoundRobin; }
  UpstreamGroup() = default;
  UpstreamGroup(const UpstreamGroup&) = delete;
  UpstreamGroup& operator=(const UpstreamGroup&) = delete;
  ~UpstreamGroup();
  // Takes over the reference.
  void replace(Peers* fresh);
};
// Weights have been set or changed: what the methods derive from them.
void seal_peers(Peers& peers, UpstreamMethod method, bool consistent);

// Holds the lock of the group's zone, if it has one.
class PeerLock {
 public:
  explicit PeerLock(const UpstreamGroup* group);
  ~PeerLock();
  PeerLock(const PeerLock&) = delete;
  PeerLock& operator=(const PeerLock&) = delete;
  // Null: the server has been removed.
  PeerState* state(UpstreamPeer* peer);

 private:
  shm::PeerZone* zone_;
};

// The choices of one request. Trivially destructible: it lies in the request's arena, and end()
// gives back what it holds.
class PeerWalk {
 public:
  void begin(Request* r, UpstreamGroup* group, int most_tries);
  // kOk: `current` is the next one to try; kBusy: nobody is left.
  int next();
  // The try is over. `failed`: the peer is to blame; else it was only not the right one.
  void release(bool failed);
  void end();

  UpstreamGroup* group = nullptr;
  UpstreamPeer* current = nullptr;
  int tries = 0;
  bool placeholder() const { return peers_ && peers_->placeholder; }

 private:
  struct Usable;
  UpstreamPeer* choose(PeerLock& lock);
  UpstreamPeer* round_robin(PeerLock& lock);
  UpstreamPeer* pick(PeerLock& lock, const Peers::Set& set, const std::string* server);
  UpstreamPeer* least_conn(PeerLock& lock);
  UpstreamPeer* least_conn(PeerLock& lock, const Peers::Set& set);
  UpstreamPeer* hash(PeerLock& lock);
  UpstreamPeer* consistent_hash(PeerLock& lock);
  UpstreamPeer* ip_hash(PeerLock& lock);
  UpstreamPeer* random(PeerLock& lock, bool two);
  UpstreamPeer* by_weight(PeerLock& lock, uint32_t w, size_t* at);
  PeerState* usable(PeerLock& lock, const Peers::Set& set, size_t i) const;
  UpstreamPeer* take(PeerState* state, const Peers::Set& set, size_t i);
  bool tried(size_t i) const { return tried_[i / 64] >> i % 64 & 1; }
  bool to_backup();

  Request* r_ = nullptr;
  Peers* peers_ = nullptr;
  const Peers::Set* set_ = nullptr;
  uint64_t* tried_ = nullptr;
  uint64_t first_tried_ = 0;
  // of the hashes and of `random`
  Str key_;
  uint32_t hash_ = 0;
  unsigned rehash_ = 0, missed_ = 0;
};

// "127.0.0.1", "[::1]" or "::1", "unix:/path". False: a name.
bool literal_address(Str host, int port, sockaddr_storage* addr, socklen_t* len);
// The text of an address for log lines.
std::string address_name(const sockaddr_storage& addr);
PeerState state_of(const UpstreamServerPlan& server);
// "HOST:PORT", "[::1]:PORT", "unix:/path".
void split_address(const std::string& text, std::string* host, int* port);

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
// Idle connections as the group's plan wants them.
void make_keepalive(UpstreamGroup* group, const Log* log);

}  // namespace moonphase::engine
