#include "engine/upstream/zone.h"

#include <algorithm>

#include "base/encode.h"
#include "engine/runtime.h"

namespace moonphase::engine {

namespace {

struct MethodName {
  UpstreamMethod method;
  const char* name;
};
constexpr MethodName kMethods[] = {{UpstreamMethod::kRoundRobin, "round_robin"},
                                   {UpstreamMethod::kLeastConn, "least_conn"},
                                   {UpstreamMethod::kIpHash, "ip_hash"},
                                   {UpstreamMethod::kHash, "hash"},
                                   {UpstreamMethod::kRandom, "random"}};

class ZoneLock {
 public:
  explicit ZoneLock(shm::PeerZone* zone) : zone_(zone) { zone_->lock(); }
  ~ZoneLock() { zone_->unlock(); }
  ZoneLock(const ZoneLock&) = delete;
  ZoneLock& operator=(const ZoneLock&) = delete;

 private:
  shm::PeerZone* zone_;
};

shm::PeerEntry entry_of(const UpstreamPeer& peer) {
  shm::PeerEntry e;
  e.backup = peer.backup;
  e.resolved = peer.resolved;
  e.address.assign(reinterpret_cast<const char*>(&peer.addr), peer.len);
  e.name = peer.name;
  e.server = peer.server;
  e.state = peer.own;
  return e;
}

// What a block says, so that a later configuration can be compared with it.
uint64_t fingerprint(const UpstreamGroup& group) {
  std::string text;
  for (const UpstreamServerPlan& s : group.plan->servers)
    text += s.name + ' ' + std::to_string(s.weight) + ' ' + std::to_string(s.max_fails) + ' ' +
            std::to_string(s.max_conns) + ' ' + std::to_string(s.fail_timeout) + ' ' +
            (s.backup ? 'b' : '-') + (s.down ? 'd' : '-') + (s.resolve ? 'r' : '-') + '\n';
  for (const Peers::Set* set : {&group.peers->primary, &group.peers->backup})
    for (const auto& peer : set->peers) text += peer->name + '\n';
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

UpstreamZone* zone_of(Plan& plan, const std::string& name) {
  for (const auto& zone : plan.zones)
    if (zone->name() == name) return zone.get();
  return nullptr;
}

}  // namespace

const char* method_name(UpstreamMethod method) {
  for (const MethodName& m : kMethods)
    if (m.method == method) return m.name;
  return "round_robin";
}

void UpstreamZone::show(UpstreamGroup* group, const shm::PeerGroupEntry& entry) {
  auto* peers = new Peers;
  for (const shm::PeerEntry& e : entry.peers) {
    auto peer = std::make_shared<UpstreamPeer>();
    peer->name = e.name;
    peer->server = e.server;
    peer->len = static_cast<socklen_t>(e.address.size());
    std::memcpy(&peer->addr, e.address.data(), std::min(e.address.size(), sizeof peer->addr));
    peer->own = e.state;
    peer->slot = e.slot;
    peer->id = e.id;
    peer->backup = e.backup;
    peer->resolved = e.resolved;
    (e.backup ? peers->backup : peers->primary).peers.push_back(std::move(peer));
  }
  peers->placeholder = group->plan->placeholder;
  seal_peers(*peers, group->method(), group->plan->hash_consistent);
  group->replace(peers);
  group->version = entry.version;
}

void UpstreamZone::read() {
  std::vector<shm::PeerGroupEntry> all;
  {
    ZoneLock lock(&memory_);
    seen_ = memory_.version();
    all = memory_.read();
  }
  std::vector<const UpstreamGroup*> there;
  for (const shm::PeerGroupEntry& entry : all) {
    UpstreamGroup* group = nullptr;
    for (UpstreamGroup* one : configured_)
      if (one->name == entry.name) group = one;
    if (!group && !entry.added) continue;  // of a configuration before or after this one
    if (!group) {
      auto& slot = added_[entry.name];
      if (!slot) {
        slot = std::make_unique<UpstreamGroup>();
        slot->name = entry.name;
        slot->zone = this;
        slot->own_plan = std::make_unique<UpstreamPlan>();
        slot->own_plan->name = entry.name;
        slot->own_plan->zone = plan_->name;
        slot->own_plan->keepalive = 32;
        slot->own_plan->keepalive_local = true;
        slot->plan = slot->own_plan.get();
        make_keepalive(slot.get(), log_);
      }
      slot->own_plan->method = static_cast<UpstreamMethod>(entry.method);
      group = slot.get();
    }
    there.push_back(group);
    if (group->version != entry.version || !group->peers) show(group, entry);
  }
  for (auto& [name, group] : added_) {
    if (!group->peers || std::find(there.begin(), there.end(), group.get()) != there.end())
      continue;
    group->replace(nullptr);
    if (group->keepalive) group->keepalive->close_all();
  }
}

bool UpstreamZone::adopt(UpstreamGroup* group) {
  group->zone = this;
  configured_.push_back(group);
  shm::PeerGroupEntry entry;
  const uint64_t config = fingerprint(*group);
  ZoneLock lock(&memory_);
  if (memory_.known(group->name, &entry) && entry.config == config && !entry.added) {
    show(group, entry);
    return true;
  }
  entry = {};
  entry.name = group->name;
  entry.config = config;
  entry.method = static_cast<uint32_t>(group->method());
  for (const Peers::Set* set : {&group->peers->primary, &group->peers->backup})
    for (const auto& peer : set->peers) entry.peers.push_back(entry_of(*peer));
  if (!memory_.put(entry)) return false;
  entry.peers.clear();
  memory_.known(group->name, &entry);
  show(group, entry);
  return true;
}

UpstreamGroup* UpstreamZone::find(Str name) {
  refresh();
  if (added_.empty()) return nullptr;
  auto it = added_.find(name);
  return it != added_.end() && it->second->peers ? it->second.get() : nullptr;
}

bool open_upstream_zones(Generation* g, std::string* error) {
  Plan& plan = *g->plan;
  if (!plan.main_conf || !plan.zones.empty()) return true;
  for (const UpstreamZonePlan& one : plan.upstream_zones) {
    const std::string where = " in " + one.where.file + ":" + std::to_string(one.where.line);
    shm::ZoneSpec spec;
    spec.name = one.name;
    spec.size = one.size;
    spec.plain = true;
    const auto& inherited = g->runtime->options.zone_fds;
    if (auto it = inherited.find(one.name); it != inherited.end()) spec.fd = it->second;
    shm::Zone* zone = shm::zone_registry_open(spec, error);
    if (!zone) {
      *error += where;
      return false;
    }
    shm::PeerZone memory;
    if (!shm::PeerZone::open(zone->segment.base(), one.size, &memory, error)) {
      *error = "zone \"" + one.name + "\": " + *error + where;
      shm::zone_registry_release(zone);
      return false;
    }
    plan.zones.push_back(std::make_shared<UpstreamZone>(zone, memory, &one, &plan.error_log));
  }
  for (const auto& group : groups_of(plan)) {
    if (!group->plan || group->plan->zone.empty()) continue;
    UpstreamZone* zone = zone_of(plan, group->plan->zone);
    if (zone && zone->adopt(group.get())) continue;
    *error = "zone \"" + group->plan->zone + "\" is too small for upstream \"" + group->name +
             "\" in " + group->plan->where.file + ":" + std::to_string(group->plan->where.line);
    return false;
  }
  return true;
}

// --- changes ---

namespace {

UpstreamServerInfo info_of(const UpstreamPeer& peer, const PeerState& s) {
  UpstreamServerInfo info;
  info.address = peer.name;
  info.server = peer.server;
  info.weight = s.weight;
  info.max_fails = s.max_fails;
  info.max_conns = s.max_conns;
  info.fail_timeout = s.fail_timeout;
  info.backup = peer.backup;
  info.down = s.down != 0;
  info.fails = s.fails;
  info.conns = s.conns;
  return info;
}

UpstreamGroupInfo info_of(UpstreamGroup& group) {
  UpstreamGroupInfo info;
  info.name = group.name;
  info.method = method_name(group.method());
  info.zone = group.plan ? group.plan->zone : std::string();
  info.added = group.own_plan != nullptr;
  PeerLock lock(&group);
  for (const Peers::Set* set : {&group.peers->primary, &group.peers->backup})
    for (const auto& peer : set->peers)
      if (const PeerState* s = lock.state(peer.get())) info.servers.push_back(info_of(*peer, *s));
  return info;
}

// Empty: *entry is the server's.
std::string read_server(const UpstreamServerInfo& info, shm::PeerEntry* e) {
  std::string host;
  int port;
  split_address(info.address, &host, &port);
  sockaddr_storage addr;
  socklen_t len;
  if (!literal_address(host, port ? port : 80, &addr, &len))
    return "\"" + info.address + "\" is not a numeric address";
  if (info.weight < 1) return "invalid weight";
  if (info.max_fails < 0 || info.max_conns < 0 || info.fail_timeout < 0) return "invalid parameter";
  if (info.server.size() >= shm::kPeerServer) return "the name is too long";
  e->backup = info.backup;
  e->address.assign(reinterpret_cast<const char*>(&addr), len);
  e->name = address_name(addr);
  e->server = info.server.empty() ? info.address : info.server;
  e->state.weight = e->state.effective_weight = info.weight;
  e->state.max_fails = info.max_fails;
  e->state.max_conns = info.max_conns;
  e->state.fail_timeout = info.fail_timeout;
  e->state.down = info.down;
  return {};
}

}  // namespace

std::vector<UpstreamGroupInfo> list_upstreams(Plan& plan) {
  std::vector<UpstreamGroupInfo> all;
  if (!plan.main_conf) return all;
  for (const auto& zone : plan.zones) zone->refresh();
  for (const auto& group : groups_of(plan))
    if (group->plan && group->peers) all.push_back(info_of(*group));
  for (const auto& zone : plan.zones)
    zone->each_added([&](UpstreamGroup& group) { all.push_back(info_of(group)); });
  return all;
}

std::string set_upstream(Plan& plan, const UpstreamGroupInfo& info) {
  if (info.name.empty() || info.name.size() >= shm::kPeerGroupName) return "invalid name";
  UpstreamGroup* group = plan.main_conf ? find_group(plan, info.name, 0, true) : nullptr;
  if (group && !group->plan) group = nullptr;  // a host that some proxy_pass names
  UpstreamZone* zone = group ? group->zone : zone_of(plan, plan.dynamic_zone);
  if (!zone)
    return group ? "upstream \"" + info.name + "\" has no zone"
                 : "there is no zone for upstreams that are added (upstream_zone)";
  shm::PeerGroupEntry entry;
  entry.name = group ? group->name : info.name;
  const bool added = !group || group->own_plan;
  bool known_method = false;
  for (const MethodName& m : kMethods) {
    if (info.method != m.name || m.method == UpstreamMethod::kHash) continue;
    entry.method = static_cast<uint32_t>(m.method);
    known_method = true;
  }
  if (added && !known_method) return "unknown method \"" + info.method + "\"";
  if (info.servers.empty()) return "no servers";
  bool primary = false;
  for (const UpstreamServerInfo& server : info.servers) {
    if (std::string wrong = read_server(server, &entry.peers.emplace_back()); !wrong.empty())
      return wrong;
    primary |= !server.backup;
  }
  if (!primary) return "no servers that are not for backup";
  {
    ZoneLock lock(zone->memory());
    shm::PeerGroupEntry before;
    if (!added && zone->memory()->known(entry.name, &before)) {
      entry.config = before.config;
      entry.method = before.method;
    }
    entry.added = added;
    if (!zone->memory()->put(entry)) return "zone \"" + zone->name() + "\" is full";
  }
  zone->refresh();
  return {};
}

std::string remove_upstream(Plan& plan, const std::string& name) {
  UpstreamGroup* group = plan.main_conf ? find_group(plan, name, 0, true) : nullptr;
  if (!group || !group->plan) return "upstream not found";
  if (!group->own_plan) return "upstream \"" + name + "\" is part of the configuration";
  UpstreamZone* zone = group->zone;
  {
    ZoneLock lock(zone->memory());
    zone->memory()->remove(name);
  }
  zone->refresh();
  return {};
}

}  // namespace moonphase::engine
