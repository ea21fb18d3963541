#include "shm/cache_index.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace moonphase::shm {

namespace {
constexpr uint64_t kMagic = 0x4d50434143483031;  // "MPCACH01"
constexpr size_t kPlace = 1024;
}  // namespace

struct CacheIndex::Head {
  uint64_t magic;
  RobustLock lock;
  uint32_t nodes, buckets;
  uint32_t free, newest, oldest, count;
  uint32_t warm;
  int64_t bytes;
  int64_t duty_until[2];
  char place[kPlace];
};

uint32_t* CacheIndex::buckets() const {
  return reinterpret_cast<uint32_t*>(base_ + (sizeof(Head) + 63) / 64 * 64);
}

CacheNode* CacheIndex::nodes() const {
  const uint64_t after = (sizeof(Head) + 63) / 64 * 64 + uint64_t{head()->buckets} * 4;
  return reinterpret_cast<CacheNode*>(base_ + (after + 63) / 64 * 64);
}

bool CacheIndex::open(char* base, uint64_t size, const std::string& place, CacheIndex* out,
                      std::string* error) {
  CacheIndex index;
  index.base_ = base;
  Head* h = index.head();
  if (robust_lock(&h->lock) && h->magic == kMagic) index.repair();
  if (h->magic == 0) {
    const uint64_t room = size - sizeof(Head) - 128;
    h->nodes = static_cast<uint32_t>(room / (sizeof(CacheNode) + 8));
    h->buckets = static_cast<uint32_t>(std::bit_floor(uint64_t{h->nodes}));
    std::memset(index.buckets(), 0xff, uint64_t{h->buckets} * 4);
    std::memcpy(h->place, place.c_str(), std::min(place.size(), kPlace - 1));
    h->newest = h->oldest = kNone;
    h->free = 0;
    for (uint32_t i = 0; i < h->nodes; ++i)
      index.nodes()[i].next = i + 1 < h->nodes ? i + 1 : kNone;
    h->magic = kMagic;
  }
  const bool ours = h->magic == kMagic;
  const std::string before(h->place, strnlen(h->place, kPlace));
  robust_unlock(&h->lock);
  if (!ours) {
    *error = "the memory that exists is not a zone of this version";
    return false;
  }
  if (before != place.substr(0, kPlace - 1)) {
    *error = "uses the \"" + place + "\" cache path while previously it used the \"" + before +
             "\" cache path";
    return false;
  }
  *out = index;
  return true;
}

void CacheIndex::lock() {
  if (robust_lock(&head()->lock)) repair();
}
void CacheIndex::unlock() { robust_unlock(&head()->lock); }

uint32_t CacheIndex::bucket(const unsigned char* key) const {
  uint32_t h;
  std::memcpy(&h, key, sizeof h);
  return h & (head()->buckets - 1);
}

CacheNode* CacheIndex::find(const unsigned char* key) {
  for (uint32_t i = buckets()[bucket(key)]; i != kNone; i = nodes()[i].next)
    if (std::memcmp(nodes()[i].key, key, kCacheKey) == 0) return nodes() + i;
  return nullptr;
}

void CacheIndex::link_newest(uint32_t i) {
  Head* h = head();
  nodes()[i].newer = kNone;
  nodes()[i].older = h->newest;
  (h->newest == kNone ? h->oldest : nodes()[h->newest].newer) = i;
  h->newest = i;
}

void CacheIndex::unlink(const CacheNode* n) {
  Head* h = head();
  (n->newer == kNone ? h->newest : nodes()[n->newer].older) = n->older;
  (n->older == kNone ? h->oldest : nodes()[n->older].newer) = n->newer;
}

CacheNode* CacheIndex::add(const unsigned char* key) {
  Head* h = head();
  const uint32_t i = h->free;
  if (i == kNone) return nullptr;
  CacheNode* n = nodes() + i;
  h->free = n->next;
  *n = CacheNode{};
  std::memcpy(n->key, key, kCacheKey);
  uint32_t& first = buckets()[bucket(key)];
  n->next = first;
  first = i;
  link_newest(i);
  n->used = 1;
  ++h->count;
  return n;
}

void CacheIndex::remove(CacheNode* n) {
  Head* h = head();
  const uint32_t i = number(n);
  n->used = 0;
  uint32_t* link = &buckets()[bucket(n->key)];
  while (*link != i) link = &nodes()[*link].next;
  *link = n->next;
  unlink(n);
  n->next = h->free;
  h->free = i;
  --h->count;
}

void CacheIndex::touch(CacheNode* n) {
  unlink(n);
  link_newest(number(n));
}

CacheNode* CacheIndex::oldest() { return at(head()->oldest); }
CacheNode* CacheIndex::newer_than(const CacheNode* n) { return at(n->newer); }
int64_t& CacheIndex::bytes() { return head()->bytes; }
uint32_t CacheIndex::count() const { return head()->count; }
bool CacheIndex::cold() const { return head()->warm == 0; }
void CacheIndex::warm() { head()->warm = 1; }

bool CacheIndex::take(Duty what, int64_t now_ms, int64_t ms) {
  int64_t& until = head()->duty_until[what];
  // A clock that begins anew (after the machine's) leaves no duty for ever.
  if (until > now_ms && until <= now_ms + 600000) return false;
  until = now_ms + ms;
  return true;
}

// Whoever held the lock has died: the lists are made anew of the nodes that are in use.
void CacheIndex::repair() {
  Head* h = head();
  std::memset(buckets(), 0xff, uint64_t{h->buckets} * 4);
  h->free = h->newest = h->oldest = kNone;
  h->count = 0;
  h->bytes = 0;
  for (uint32_t i = h->nodes; i-- > 0;) {
    CacheNode* n = nodes() + i;
    if (n->used != 1) {
      n->used = 0;
      n->next = h->free;
      h->free = i;
      continue;
    }
    uint32_t& first = buckets()[bucket(n->key)];
    n->next = first;
    first = i;
    link_newest(i);
    ++h->count;
    if (n->exists) h->bytes += n->size;
  }
}

}  // namespace moonphase::shm
