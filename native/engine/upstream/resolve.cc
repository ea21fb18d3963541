#include "engine/upstream/resolve.h"

#include <algorithm>

#include "base/clock.h"
#include "engine/runtime.h"
#include "engine/sockets/peer.h"
#include "engine/sockets/socket_pool.h"

namespace moonphase::engine {

namespace {

constexpr int kNoSuchName = 3;
constexpr int64_t kLeastWait = 1000;

}  // namespace

NameWatch::NameWatch(Generation* g, UpstreamGroup* group, const UpstreamServerPlan* server)
    : g_(g), group_(group), server_(server) {
  split_address(server->address, &host_, &port_);
  const UpstreamPlan* up = group->plan;
  const LocConf* main = g->plan->main_conf;
  const ResolverPlan& resolver = up->resolver ? *up->resolver : *main->resolver;
  conf_.servers = resolver.servers;
  conf_.valid = resolver.valid;
  conf_.ipv4 = resolver.ipv4;
  conf_.ipv6 = resolver.ipv6;
  timeout_ = up->resolver ? up->resolver_timeout : main->resolver_timeout;
  timer_.data = this;
  timer_.fn = [](void* p) { static_cast<NameWatch*>(p)->ask(); };
  net::current_loop()->set_timer(&timer_, 1);
}

NameWatch::~NameWatch() {
  net::current_loop()->clear_timer(&timer_);
  if (pending_) socket_pools(g_).resolver.cancel(pending_);
}

void NameWatch::ask() {
  net::ResolveResult now_result;
  pending_ = socket_pools(g_).resolver.resolve(
      conf_, host_, timeout_,
      [](void* p, const net::ResolveResult& result) {
        auto* self = static_cast<NameWatch*>(p);
        self->pending_ = nullptr;
        self->answered(result);
      },
      this, &now_result);
  if (!pending_) answered(now_result);
}

void NameWatch::answered(const net::ResolveResult& result) {
  int64_t wait = std::max(timeout_, kLeastWait);
  const Log& log = g_->plan->error_log;
  if (result.code) {
    if (log.enabled(kLogErr))
      log_write(log, nullptr, kLogErr, 0, "%s could not be resolved (%d: %s) in upstream \"%s\"",
                host_.c_str(), result.code, net::resolve_strerror(result.code),
                group_->name.c_str());
    if (result.code == kNoSuchName) put({});
  } else {
    put(result.addresses);
    if (result.until) wait = std::max(result.until - now().monotonic_ms, kLeastWait);
  }
  net::current_loop()->set_timer(&timer_, static_cast<uint64_t>(wait));
}

void NameWatch::put(const std::vector<net::ResolvedAddress>& addresses) {
  shm::PeerZone* zone = group_->zone->memory();
  std::vector<shm::PeerEntry> fresh;
  for (net::ResolvedAddress address : addresses) {
    set_port(&address.addr, port_);
    shm::PeerEntry& e = fresh.emplace_back();
    e.resolved = true;
    e.backup = server_->backup;
    e.address.assign(reinterpret_cast<const char*>(&address.addr), address.len);
    e.name = address_name(address.addr);
    e.server = server_->name;
    e.state = state_of(*server_);
  }
  bool full = false;
  zone->lock();
  shm::PeerGroupEntry group;
  if (zone->known(group_->name, &group)) {
    auto ours = [&](const shm::PeerEntry& e) { return e.resolved && e.server == server_->name; };
    auto same = [](const shm::PeerEntry& a, const shm::PeerEntry& b) {
      return a.address == b.address;
    };
    std::vector<shm::PeerEntry> kept;
    size_t known = 0;
    for (const shm::PeerEntry& e : group.peers) {
      if (!ours(e)) {
        kept.push_back(e);
        continue;
      }
      auto it = std::find_if(fresh.begin(), fresh.end(),
                             [&](const shm::PeerEntry& f) { return same(e, f); });
      if (it == fresh.end()) continue;
      fresh.erase(it);
      kept.push_back(e);
      ++known;
    }
    if (!fresh.empty() || kept.size() != group.peers.size()) {
      kept.insert(kept.end(), fresh.begin(), fresh.end());
      group.peers = std::move(kept);
      full = !zone->put(group);
    }
  }
  zone->unlock();
  if (full && g_->plan->error_log.enabled(kLogErr))
    log_write(g_->plan->error_log, nullptr, kLogErr, 0, "zone \"%s\" is full",
              group_->zone->name().c_str());
  group_->zone->refresh();
}

void start_resolving(Generation* g) {
  const RuntimeOptions& options = g->runtime->options;
  if (!g->plan->main_conf || options.worker_id != 0 || options.test ||
      options.process_type == ProcessType::kPrivileged)
    return;
  for (const auto& group : groups_of(*g->plan)) {
    if (!group->plan || !group->zone) continue;
    for (const UpstreamServerPlan& server : group->plan->servers)
      if (server.resolve) g->names.push_back(std::make_unique<NameWatch>(g, group.get(), &server));
  }
}

}  // namespace moonphase::engine
