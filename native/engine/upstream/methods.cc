// How a group's method chooses among its servers: nginx's algorithms, step by step, so that the
// same requests go to the same servers.
#include <strings.h>
#include <algorithm>
#include <cstdlib>

#include "base/clock.h"
#include "base/encode.h"
#include "engine/lifecycle.h"
#include "engine/upstream/zone.h"
#include "engine/variables/variables.h"

namespace moonphase::engine {

namespace {

constexpr unsigned kMostMisses = 20;  // then round robin decides
constexpr int kPointsPerWeight = 160;

// "HOST" and "PORT" as Cache::Memcached::Fast puts them into its hash.
std::string point_seed(const std::string& server) {
  if (server.size() >= 5 && strncasecmp(server.c_str(), "unix:", 5) == 0)
    return server.substr(5) + '\0';
  const size_t digits = server.find_last_not_of("0123456789");
  if (digits == std::string::npos || server[digits] != ':') return server + '\0';
  return server.substr(0, digits) + '\0' + server.substr(digits + 1);
}

void make_points(Peers& peers) {
  for (const auto& peer : peers.primary.peers) {
    const std::string seed = point_seed(peer->server);
    uint32_t before = 0;
    for (int i = 0; i < peer->own.weight * kPointsPerWeight; ++i) {
      std::string text = seed;
      for (int shift = 0; shift < 32; shift += 8) text += static_cast<char>(before >> shift & 255);
      before = crc32(text);
      peers.points.push_back({before, &peer->server});
    }
  }
  std::stable_sort(peers.points.begin(), peers.points.end(),
                   [](const Peers::Point& a, const Peers::Point& b) { return a.hash < b.hash; });
  peers.points.erase(
      std::unique(peers.points.begin(), peers.points.end(),
                  [](const Peers::Point& a, const Peers::Point& b) { return a.hash == b.hash; }),
      peers.points.end());
}

void sum_weights(Peers::Set& set) {
  set.total_weight = 0;
  set.ranges.clear();
  for (const auto& peer : set.peers) {
    set.ranges.push_back(set.total_weight);
    set.total_weight += peer->own.weight;
  }
}

}  // namespace

void seal_peers(Peers& peers, UpstreamMethod method, bool consistent) {
  sum_weights(peers.primary);
  sum_weights(peers.backup);
  peers.points.clear();
  if (method == UpstreamMethod::kHash && consistent) make_points(peers);
}

// --- the lock ---

PeerLock::PeerLock(const UpstreamGroup* group)
    : zone_(group->zone ? group->zone->memory() : nullptr) {
  if (zone_) zone_->lock();
}
PeerLock::~PeerLock() {
  if (zone_) zone_->unlock();
}
PeerState* PeerLock::state(UpstreamPeer* peer) {
  return zone_ && peer->id ? zone_->state(peer->slot, peer->id) : &peer->own;
}

// --- a request's way through them ---

void PeerWalk::begin(Request* r, UpstreamGroup* g, int most_tries) {
  r_ = r;
  group = g;
  if (g->zone) g->zone->refresh();
  if (!g->peers) {  // removed
    tries = 0;
    return;
  }
  peers_ = g->peers;
  ++peers_->refs;
  set_ = &peers_->primary;
  if (peers_->single()) {
    tries = 1;
  } else {
    PeerLock lock(group);
    tries = 0;
    for (const Peers::Set* set : {&peers_->primary, &peers_->backup})
      for (const auto& peer : set->peers)
        if (const PeerState* s = lock.state(peer.get()); s && !s->down) ++tries;
  }
  if (most_tries && tries > most_tries) tries = most_tries;
  const size_t most = std::max(peers_->primary.peers.size(), peers_->backup.peers.size());
  tried_ = most <= 64 ? &first_tried_ : r->pool->array<uint64_t>(most / 64 + 1);
  const UpstreamMethod method = g->method();
  if (method == UpstreamMethod::kHash) {
    key_ = eval(r, g->plan->hash_key);
    if (g->plan->hash_consistent) {
      const uint32_t hash = crc32(key_);
      hash_ = static_cast<uint32_t>(
          std::lower_bound(peers_->points.begin(), peers_->points.end(), hash,
                           [](const Peers::Point& point, uint32_t h) { return point.hash < h; }) -
          peers_->points.begin());
    }
  }
  if (method == UpstreamMethod::kIpHash) {
    hash_ = 89;
    static constexpr char kNoAddress[3] = {0, 0, 0};
    const auto* addr = reinterpret_cast<const sockaddr*>(&r->conn->peer);
    if (addr->sa_family == AF_INET)
      key_ = Str(reinterpret_cast<const char*>(
                     &reinterpret_cast<const sockaddr_in*>(addr)->sin_addr.s_addr),
                 3);
    else if (addr->sa_family == AF_INET6)
      key_ = Str(reinterpret_cast<const char*>(
                     reinterpret_cast<const sockaddr_in6*>(addr)->sin6_addr.s6_addr),
                 16);
    else
      key_ = Str(kNoAddress, 3);
  }
}

void PeerWalk::end() {
  engine::release(peers_);
  peers_ = nullptr;
  set_ = nullptr;
}

// Null: not to be asked now.
PeerState* PeerWalk::usable(PeerLock& lock, const Peers::Set& set, size_t i) const {
  if (tried(i)) return nullptr;
  PeerState* s = lock.state(set.peers[i].get());
  if (!s || s->down) return nullptr;
  if (s->max_fails && s->fails >= s->max_fails && now().wall_sec() - s->checked <= s->fail_timeout)
    return nullptr;
  return s->max_conns && s->conns >= s->max_conns ? nullptr : s;
}

UpstreamPeer* PeerWalk::take(PeerState* s, const Peers::Set& set, size_t i) {
  const int64_t sec = now().wall_sec();
  if (sec - s->checked > s->fail_timeout) s->checked = sec;
  tried_[i / 64] |= uint64_t{1} << i % 64;
  ++s->conns;
  return set.peers[i].get();
}

// Smooth weighted round robin, among all or those that are `server`.
UpstreamPeer* PeerWalk::pick(PeerLock& lock, const Peers::Set& set, const std::string* server) {
  PeerState* best = nullptr;
  int total = 0;
  size_t at = 0;
  for (size_t i = 0; i < set.peers.size(); ++i) {
    PeerState* s = usable(lock, set, i);
    if (!s || (server && set.peers[i]->server != *server)) continue;
    s->current_weight += s->effective_weight;
    total += s->effective_weight;
    if (s->effective_weight < s->weight) ++s->effective_weight;
    if (best && s->current_weight <= best->current_weight) continue;
    best = s;
    at = i;
  }
  if (!best) return nullptr;
  best->current_weight -= total;
  return take(best, set, at);
}

bool PeerWalk::to_backup() {
  if (set_ != &peers_->primary || peers_->backup.peers.empty()) return false;
  MOONPHASE_LOG(r_, kLogDebug, 0, "backup servers");
  set_ = &peers_->backup;
  std::memset(tried_, 0, sizeof(uint64_t) * ((set_->peers.size() + 63) / 64));
  return true;
}

UpstreamPeer* PeerWalk::round_robin(PeerLock& lock) {
  if (peers_->single()) {
    PeerState* s = lock.state(peers_->primary.peers[0].get());
    if (!s || s->down || (s->max_conns && s->conns >= s->max_conns)) return nullptr;
    ++s->conns;
    return peers_->primary.peers[0].get();
  }
  UpstreamPeer* peer = pick(lock, *set_, nullptr);
  return peer || !to_backup() ? peer : pick(lock, *set_, nullptr);
}

UpstreamPeer* PeerWalk::least_conn(PeerLock& lock, const Peers::Set& set) {
  PeerState* best = nullptr;
  bool many = false;
  size_t at = 0;
  auto load = [](const PeerState* a, const PeerState* b) { return int64_t{a->conns} * b->weight; };
  for (size_t i = 0; i < set.peers.size(); ++i) {
    PeerState* s = usable(lock, set, i);
    if (!s) continue;
    if (!best || load(s, best) < load(best, s)) {
      best = s;
      many = false;
      at = i;
    } else if (load(s, best) == load(best, s)) {
      many = true;
    }
  }
  if (!best) return nullptr;
  int total = 0;
  // Of those that have as few, by round robin.
  for (size_t i = at; many && i < set.peers.size(); ++i) {
    PeerState* s = usable(lock, set, i);
    if (!s || load(s, best) != load(best, s)) continue;
    s->current_weight += s->effective_weight;
    total += s->effective_weight;
    if (s->effective_weight < s->weight) ++s->effective_weight;
    if (s->current_weight > best->current_weight) {
      best = s;
      at = i;
    }
  }
  best->current_weight -= total;
  return take(best, set, at);
}

UpstreamPeer* PeerWalk::least_conn(PeerLock& lock) {
  if (peers_->single()) return round_robin(lock);
  UpstreamPeer* peer = least_conn(lock, *set_);
  return peer || !to_backup() ? peer : least_conn(lock, *set_);
}

// The server that `w` falls to, if it may be asked.
UpstreamPeer* PeerWalk::by_weight(PeerLock& lock, uint32_t w, size_t* at) {
  const auto& ranges = set_->ranges;
  *at = static_cast<size_t>(
      std::upper_bound(ranges.begin(), ranges.end(),
                       static_cast<int>(w % static_cast<uint32_t>(set_->total_weight))) -
      ranges.begin() - 1);
  return usable(lock, *set_, *at) ? set_->peers[*at].get() : nullptr;
}

UpstreamPeer* PeerWalk::hash(PeerLock& lock) {
  if (set_->peers.size() < 2 || key_.empty()) return round_robin(lock);
  while (missed_ <= kMostMisses) {
    // As Cache::Memcached: crc32([REHASH] KEY), REHASH not at first.
    std::string text = rehash_ ? std::to_string(rehash_) : std::string();
    hash_ += crc32(text.append(key_)) >> 16 & 0x7fff;
    ++rehash_;
    size_t at;
    if (UpstreamPeer* peer = by_weight(lock, hash_, &at)) return take(lock.state(peer), *set_, at);
    ++missed_;
  }
  return round_robin(lock);
}

UpstreamPeer* PeerWalk::consistent_hash(PeerLock& lock) {
  if (peers_->single() || key_.empty()) return round_robin(lock);
  if (peers_->points.empty()) return nullptr;
  for (; missed_ <= kMostMisses; ++missed_, ++hash_) {
    const Peers::Point& point = peers_->points[hash_ % peers_->points.size()];
    if (UpstreamPeer* peer = pick(lock, *set_, point.server)) return peer;
  }
  return round_robin(lock);
}

UpstreamPeer* PeerWalk::ip_hash(PeerLock& lock) {
  if (set_->peers.size() < 2) return round_robin(lock);
  uint32_t hash = hash_;
  while (missed_ <= kMostMisses) {
    for (const char c : key_) hash = (hash * 113 + static_cast<unsigned char>(c)) % 6271;
    size_t at;
    if (UpstreamPeer* peer = by_weight(lock, hash, &at)) {
      hash_ = hash;
      return take(lock.state(peer), *set_, at);
    }
    ++missed_;
  }
  return round_robin(lock);
}

UpstreamPeer* PeerWalk::random(PeerLock& lock, bool two) {
  if (set_->peers.size() < 2) return round_robin(lock);
  UpstreamPeer* first = nullptr;
  size_t first_at = 0;
  for (; missed_ <= kMostMisses; ++missed_) {
    size_t at;
    UpstreamPeer* peer = by_weight(lock, static_cast<uint32_t>(::random()), &at);
    if (!peer || peer == first) continue;
    PeerState* s = lock.state(peer);
    if (two && !first) {
      first = peer;
      first_at = at;
      continue;
    }
    if (first) {
      PeerState* other = lock.state(first);
      if (int64_t{s->conns} * other->weight > int64_t{other->conns} * s->weight)
        return take(other, *set_, first_at);
    }
    return take(s, *set_, at);
  }
  return round_robin(lock);
}

UpstreamPeer* PeerWalk::choose(PeerLock& lock) {
  switch (group->method()) {
    case UpstreamMethod::kLeastConn:
      return least_conn(lock);
    case UpstreamMethod::kIpHash:
      return ip_hash(lock);
    case UpstreamMethod::kHash:
      return group->plan->hash_consistent ? consistent_hash(lock) : hash(lock);
    case UpstreamMethod::kRandom:
      return random(lock, group->plan->random_two);
    default:
      return round_robin(lock);
  }
}

int PeerWalk::next() {
  current = nullptr;
  if (!peers_ || peers_->primary.peers.size() + peers_->backup.peers.size() == 0) return kBusy;
  PeerLock lock(group);
  current = choose(lock);
  return current ? kOk : kBusy;
}

void PeerWalk::release(bool failed) {
  UpstreamPeer* peer = current;
  if (!peer) return;
  current = nullptr;
  bool disabled = false;
  {
    PeerLock lock(group);
    PeerState* s = lock.state(peer);
    if (s) {
      if (s->conns > 0) --s->conns;
      if (peers_->single()) {
        s->fails = 0;
      } else if (failed) {
        ++s->fails;
        s->accessed = s->checked = now().wall_sec();
        if (s->max_fails) {
          s->effective_weight = std::max(0, s->effective_weight - s->weight / s->max_fails);
          disabled = s->fails >= s->max_fails;
        }
      } else if (s->accessed < s->checked) {
        s->fails = 0;
      }
    }
  }
  if (disabled) MOONPHASE_LOG(r_, kLogWarn, 0, "upstream server temporarily disabled");
  if (peers_->single())
    tries = 0;
  else if (tries)
    --tries;
}

}  // namespace moonphase::engine
