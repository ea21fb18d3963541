#include "shm/peer_zone.h"

#include <algorithm>
#include <cstring>

namespace moonphase::shm {

namespace {

constexpr uint64_t kMagic = 0x4d504545525a3031;  // "MPEERZ01"
constexpr uint32_t kNone = 0xffffffff;

template <size_t N>
void copy_text(char (&to)[N], const std::string& from) {
  const size_t n = std::min(from.size(), N - 1);
  std::memcpy(to, from.data(), n);
  to[n] = 0;
}

}  // namespace

struct PeerZone::Head {
  uint64_t magic;
  RobustLock lock;
  uint32_t slots;
  std::atomic<uint64_t> version;
  uint64_t last_id;
  uint32_t first_group;
};

struct PeerZone::Group {
  char name[kPeerGroupName];
  uint64_t version, config;
  uint32_t added, method;
  uint32_t first;  // of its servers
};

struct PeerZone::Peer {
  PeerState state;
  char address[kPeerAddress];
  uint32_t address_size;
  uint32_t backup, resolved;
  char name[kPeerName];
  char server[kPeerServer];
};

// Filled before it is linked and unlinked before it is freed: a process that dies in between
// leaves a slot that nobody reaches, which repair() finds.
struct PeerZone::Slot {
  uint64_t id;  // 0: free
  uint32_t next;
  union {
    Group group;
    Peer peer;
  };
};

bool PeerZone::open(char* base, uint64_t size, PeerZone* out, std::string* error) {
  static_assert(std::atomic<uint64_t>::is_always_lock_free);
  if (size < kLeastSize) {
    *error = "the zone is too small";
    return false;
  }
  PeerZone zone;
  zone.base_ = base;
  Head* h = zone.head();
  robust_lock(&h->lock);
  if (h->magic == 0) {
    h->slots = static_cast<uint32_t>((size - sizeof(Head)) / sizeof(Slot));
    h->first_group = kNone;
    h->magic = kMagic;
  }
  const bool ours = h->magic == kMagic;
  robust_unlock(&h->lock);
  if (!ours) {
    *error = "the memory that exists is not a zone of this version";
    return false;
  }
  *out = zone;
  return true;
}

uint64_t PeerZone::version() const { return head()->version.load(std::memory_order_acquire); }

void PeerZone::lock() {
  if (robust_lock(&head()->lock)) repair();
}
void PeerZone::unlock() { robust_unlock(&head()->lock); }

PeerZone::Slot* PeerZone::slot(uint32_t n) const {
  return reinterpret_cast<Slot*>(base_ + sizeof(Head)) + n;
}

// The slots that no list reaches are free again. A list whose order was being changed may run into
// itself or into a slot that was freed: it ends there.
void PeerZone::repair() {
  std::vector<bool> used(head()->slots);
  auto mark = [&](uint32_t* link) {
    if (*link >= used.size() || used[*link] || !slot(*link)->id) *link = kNone;
    if (*link != kNone) used[*link] = true;
    return *link;
  };
  for (uint32_t* g = &head()->first_group; mark(g) != kNone; g = &slot(*g)->next)
    for (uint32_t* p = &slot(*g)->group.first; mark(p) != kNone;) p = &slot(*p)->next;
  for (uint32_t i = 0; i < used.size(); ++i)
    if (!used[i]) slot(i)->id = 0;
  ++head()->version;
}

uint32_t PeerZone::take_slot() {
  for (uint32_t i = 0; i < head()->slots; ++i) {
    if (slot(i)->id) continue;
    std::memset(static_cast<void*>(slot(i)), 0, sizeof(Slot));
    slot(i)->next = kNone;
    slot(i)->id = ++head()->last_id;
    return i;
  }
  return kNone;
}

PeerZone::Group* PeerZone::find(const std::string& name, uint32_t* at) {
  for (uint32_t g = head()->first_group; g != kNone; g = slot(g)->next) {
    if (name != slot(g)->group.name) continue;
    if (at) *at = g;
    return &slot(g)->group;
  }
  return nullptr;
}

void PeerZone::read_group(const Group& g, PeerGroupEntry* out) {
  out->name = g.name;
  out->version = g.version;
  out->config = g.config;
  out->added = g.added != 0;
  out->method = g.method;
  for (uint32_t p = g.first; p != kNone; p = slot(p)->next) {
    const Peer& peer = slot(p)->peer;
    PeerEntry& e = out->peers.emplace_back();
    e.id = slot(p)->id;
    e.slot = p;
    e.backup = peer.backup != 0;
    e.resolved = peer.resolved != 0;
    e.address.assign(peer.address, peer.address_size);
    e.name = peer.name;
    e.server = peer.server;
    e.state = peer.state;
  }
}

std::vector<PeerGroupEntry> PeerZone::read() {
  std::vector<PeerGroupEntry> all;
  for (uint32_t g = head()->first_group; g != kNone; g = slot(g)->next) {
    read_group(slot(g)->group, &all.emplace_back());
    all.back().id = slot(g)->id;
  }
  return all;
}

bool PeerZone::known(const std::string& name, PeerGroupEntry* out) {
  uint32_t at = 0;
  const Group* g = find(name, &at);
  if (!g) return false;
  read_group(*g, out);
  out->id = slot(at)->id;
  return true;
}

PeerState* PeerZone::state(uint32_t n, uint64_t id) {
  return n < head()->slots && slot(n)->id == id ? &slot(n)->peer.state : nullptr;
}

void PeerZone::free_list(uint32_t first) {
  while (first != kNone) {
    Slot* s = slot(first);
    first = s->next;
    s->id = 0;
  }
}

bool PeerZone::put(const PeerGroupEntry& entry) {
  uint32_t at = kNone;
  Group* g = find(entry.name, &at);
  const bool fresh = !g;
  if (fresh) {
    at = take_slot();
    if (at == kNone) return false;
    g = &slot(at)->group;
    g->first = kNone;
    copy_text(g->name, entry.name);
  }
  // The servers that stay keep their slots, and so what is known about them.
  struct Place {
    uint32_t slot;
    bool kept;
  };
  std::vector<Place> places;
  std::vector<uint32_t> old;
  for (uint32_t p = g->first; p != kNone; p = slot(p)->next) old.push_back(p);
  for (const PeerEntry& e : entry.peers) {
    Place place{kNone, false};
    for (uint32_t& p : old) {
      if (p == kNone) continue;
      const Peer& peer = slot(p)->peer;
      if (std::string(peer.address, peer.address_size) != e.address || e.server != peer.server ||
          (peer.backup != 0) != e.backup)
        continue;
      place = {p, true};
      p = kNone;
      break;
    }
    if (!place.kept) place.slot = take_slot();
    if (place.slot == kNone) {
      for (const Place& taken : places)
        if (!taken.kept) slot(taken.slot)->id = 0;
      if (fresh) slot(at)->id = 0;
      return false;
    }
    places.push_back(place);
  }
  for (size_t i = 0; i < places.size(); ++i) {
    const PeerEntry& e = entry.peers[i];
    Peer& peer = slot(places[i].slot)->peer;
    peer.resolved = e.resolved;
    PeerState& s = peer.state;
    if (!places[i].kept) {
      peer.address_size = static_cast<uint32_t>(std::min(e.address.size(), kPeerAddress));
      std::memcpy(peer.address, e.address.data(), peer.address_size);
      peer.backup = e.backup;
      copy_text(peer.name, e.name);
      copy_text(peer.server, e.server);
      s = e.state;
      s.effective_weight = s.weight;
      continue;
    }
    if (s.weight != e.state.weight) s.effective_weight = e.state.weight;
    s.weight = e.state.weight;
    s.max_fails = e.state.max_fails;
    s.max_conns = e.state.max_conns;
    s.fail_timeout = e.state.fail_timeout;
    s.down = e.state.down;
  }
  for (size_t i = 0; i < places.size(); ++i)
    slot(places[i].slot)->next = i + 1 < places.size() ? places[i + 1].slot : kNone;
  g->first = places.empty() ? kNone : places[0].slot;
  for (uint32_t p : old)
    if (p != kNone) slot(p)->id = 0;
  g->config = entry.config;
  g->added = entry.added;
  g->method = entry.method;
  g->version = ++head()->version;
  if (fresh) {
    uint32_t* end = &head()->first_group;
    while (*end != kNone) end = &slot(*end)->next;
    *end = at;
  }
  return true;
}

bool PeerZone::remove(const std::string& name) {
  for (uint32_t* link = &head()->first_group; *link != kNone; link = &slot(*link)->next) {
    Slot* s = slot(*link);
    if (name != s->group.name) continue;
    const uint32_t first = s->group.first;
    *link = s->next;
    s->id = 0;
    free_list(first);
    ++head()->version;
    return true;
  }
  return false;
}

}  // namespace moonphase::shm
