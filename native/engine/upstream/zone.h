// The zones of upstream groups, as a Plan sees them: the lists of servers are the memory's, and
// each process has its own picture of them, which is renewed when they have changed. Also where
// groups are added and changed at run time, for all workers at once.
#pragma once

#include <string>
#include <unordered_map>

#include "engine/upstream/peer.h"
#include "shm/zone.h"

namespace moonphase::engine {

struct Generation;

class UpstreamZone {
 public:
  UpstreamZone(shm::Zone* zone, shm::PeerZone memory, const UpstreamZonePlan* plan, const Log* log)
      : zone_(zone), memory_(memory), plan_(plan), log_(log) {}
  ~UpstreamZone() { shm::zone_registry_release(zone_); }
  UpstreamZone(const UpstreamZone&) = delete;
  UpstreamZone& operator=(const UpstreamZone&) = delete;

  const std::string& name() const { return plan_->name; }
  shm::PeerZone* memory() { return &memory_; }
  // A group of the configuration: its servers are the block's, unless they were changed at run time
  // and the block has not been since. False: the zone is full.
  bool adopt(UpstreamGroup* group);
  // What others have changed becomes visible.
  void refresh() {
    if (memory_.version() != seen_) read();
  }
  // A group that was added at run time.
  UpstreamGroup* find(Str name);
  template <class Fn>
  void each_added(Fn&& fn) {
    for (auto& [name, group] : added_)
      if (group->peers) fn(*group);
  }

 private:
  void read();
  void show(UpstreamGroup* group, const shm::PeerGroupEntry& entry);
  shm::Zone* zone_;
  shm::PeerZone memory_;
  const UpstreamZonePlan* plan_;
  const Log* log_;
  uint64_t seen_ = 0;
  std::vector<UpstreamGroup*> configured_;
  // Removed ones stay, without servers, since requests may be on their way: a name that comes again
  // is the same group.
  StrMap<std::unique_ptr<UpstreamGroup>> added_;
};

// Maps the zones of the generation's plan and puts its groups in. False: *error.
bool open_upstream_zones(Generation* g, std::string* error);

// --- changes at run time; an empty string: done, else why not ---

// A server of a group as it is set or shown.
struct UpstreamServerInfo {
  std::string address;  // "HOST:PORT" with a numeric host, "unix:/path"
  std::string server;   // as configured, if it was a name
  int weight = 1, max_fails = 1, max_conns = 0;
  int64_t fail_timeout = 10;  // seconds
  bool backup = false, down = false;
  int fails = 0, conns = 0;  // shown only
};
struct UpstreamGroupInfo {
  std::string name, method = "round_robin", zone;
  bool added = false;
  std::vector<UpstreamServerInfo> servers;
};
std::vector<UpstreamGroupInfo> list_upstreams(Plan& plan);
std::string set_upstream(Plan& plan, const UpstreamGroupInfo& info);
std::string remove_upstream(Plan& plan, const std::string& name);

const char* method_name(UpstreamMethod method);

}  // namespace moonphase::engine
