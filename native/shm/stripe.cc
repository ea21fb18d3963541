// The structure: lock and recovery, index, LRU order, giving entries back.
#include "shm/stripe.h"

#include <cstring>

#include "shm/hash.h"
#include "shm/mutex.h"

namespace moonphase::shm {

namespace {

// Checking a larger zone after a death would keep the others waiting.
constexpr uint32_t kCheckedPages = 8192;
constexpr int kEvictionRounds = 30;
constexpr uint32_t kCalm = 64;
// nginx's own two chunks: the root of its index, and a log text that holds the zone's name.
constexpr size_t kNginxRoot = 80, kNginxLogText = 28;

}  // namespace

Stripe::Stripe(char* file, uint64_t mapped, int fd)
    : file_(file), mapped_(mapped), fd_(fd), header_(reinterpret_cast<ZoneHeader*>(file)) {
  generation_ = header_->generation - 1;  // lock() finds out
}

void Stripe::use(char* region, const Layout& l) {
  base_ = region;
  state_ = reinterpret_cast<StripeState*>(region);
  buckets_ = reinterpret_cast<Ref*>(region + l.buckets_at);
  staging_ = region + l.staging_at;
  bucket_count_ = l.bucket_count;
  page_count_ = l.page_count;
  staging_size_ = l.staging_size;
  slab_ = Slab(region, state_, reinterpret_cast<PageDesc*>(region + l.table_at), l.pages_at,
               l.page_count);
  log_ = Journal(region, &state_->journal);
}

void Stripe::format() {
  if (state_ == nullptr) follow();
  state_->newest = state_->oldest = state_->doomed = 0;
  state_->entries = state_->pushes = 0;
  state_->journal.count = 0;
  state_->pending = {};
  std::memset(buckets_, 0, sizeof(Ref) * bucket_count_);
  slab_.format();
  slab_.alloc(kNginxRoot);
  slab_.alloc(kNginxLogText + header_->name_len);
  log_.commit();
}

void Stripe::lock() {
  bool died = robust_lock(&header_->mutex);
  if (header_->generation != generation_) follow();
  if (died || header_->open != 0) close_lanes();
  if (died) recover();
}

void Stripe::unlock() {
  // Closing the lanes costs about what ten operations do: they open for those that come often.
  if (header_->calm >= kCalm) {
    header_->calm = 0;
    __atomic_store_n(&header_->open, 1, __ATOMIC_SEQ_CST);
  }
  robust_unlock(&header_->mutex);
}

// Each line may itself be cut short by a death: what it has finished is not begun again, the rest
// is.
void Stripe::recover() {
  if (header_->generation != generation_) follow();
  log_.rollback();
  drain_doomed();
  PendingState p = state_->pending;
  if (p.kind == PendingState::kStore) {
    Str key{staging_, p.key_len};
    Str plain{staging_ + kMaxKey + 1, p.value_len};
    put(kSet | (p.safe != 0 ? kSafe : 0), key, p.hash, static_cast<uint8_t>(p.type), plain,
        p.expires, p.user_flags, p.now, true);
    unstage();
  } else if (p.kind == PendingState::kFlushAll) {
    flush(p.now);
    unstage();
  }
  lose_changes();
  header_->recoveries++;
  if (page_count_ <= kCheckedPages && check_locked() != nullptr) {
    format();
    header_->resets++;
  }
}

Ref Stripe::find(Str key, uint32_t hash) const {
  for (Ref r = bucket(hash); r != 0;) {
    Entry* e = entry(r);
    if (e->hash == hash && e->key_len() == key.size() &&
        same_bytes(e->key(), key.data(), key.size()))
      return r;
    r = e->chain;
  }
  return 0;
}

Stripe::Found Stripe::lookup(Str key, uint32_t hash, int64_t now, Ref* r) {
  *r = find(key, hash);
  if (*r == 0) return Found::kNone;
  if (expired(entry(*r), now)) return Found::kExpired;
  bump(*r);
  return Found::kLive;
}

void Stripe::bump(Ref r) {
  if (stays(r)) return;
  lru_unlink(entry(r));
  lru_push(r);
}

void Stripe::lru_unlink(Entry* e) {
  log_.put(e->newer != 0 ? entry(e->newer)->older : state_->newest, e->older);
  log_.put(e->older != 0 ? entry(e->older)->newer : state_->oldest, e->newer);
}

void Stripe::lru_push(Ref r) {
  Entry* e = entry(r);
  e->pushed = ++state_->pushes;
  log_.put(e->newer, 0);
  log_.put(e->older, state_->newest);
  log_.put(state_->newest != 0 ? entry(state_->newest)->newer : state_->oldest, r);
  log_.put(state_->newest, r);
}

Entry* Stripe::link(Ref r, Str key, uint32_t hash, uint8_t type, uint32_t value_len,
                    uint64_t expires, uint32_t user_flags) {
  Entry* e = entry(r);
  e->hash = hash;
  e->expires = expires;
  e->value_len = value_len;
  e->user_flags = user_flags;
  e->meta = Entry::make_meta(key.size(), type);
  e->chain = bucket(hash);
  std::memcpy(e->key(), key.data(), key.size());
  lru_push(r);
  log_.put(bucket(hash), r);
  log_.put(state_->entries, state_->entries + 1);
  return e;
}

void Stripe::unlink(Ref r) {
  Entry* e = entry(r);
  Ref* at = &bucket(e->hash);
  while (*at != r) at = &entry(*at)->chain;
  log_.put(*at, e->chain);
  lru_unlink(e);
  log_.put(state_->entries, state_->entries - 1);
}

void Stripe::remove(Ref r) {
  unlink(r);
  if (is_list(entry(r))) {
    log_.put(state_->doomed, r);
    log_.commit();
    drain_doomed();
    return;
  }
  slab_.free(r);
  log_.commit();
}

// A list may have any number of nodes, a journal has not.
void Stripe::drain_list(Entry* e) {
  ListHead* head = list(e);
  while (head->first != 0) {
    Ref r = head->first;
    Ref next = node(r)->next;
    log_.put(head->first, next);
    log_.put(next != 0 ? node(next)->prev : head->last, 0);
    log_.put(e->value_len, e->value_len - 1);
    slab_.free(r);
    log_.commit();
  }
}

void Stripe::drain_doomed() {
  Ref r = state_->doomed;
  if (r == 0) return;
  drain_list(entry(r));
  slab_.free(r);
  log_.put(state_->doomed, 0);
  log_.commit();
}

unsigned Stripe::evict(bool force, int64_t now) {
  unsigned freed = 0;
  for (int left = force ? 3 : 2; left > 0; left--) {
    Ref r = state_->oldest;
    if (r == 0) break;
    bool forced = force && freed == 0;
    bool dead = expired(entry(r), now);
    if (!forced && !dead) break;
    ++(dead ? header_->counters.expirations : header_->counters.evictions);
    remove(r);
    freed++;
  }
  return freed;
}

Ref Stripe::make_room(size_t size, bool safe, int64_t now, bool* forcible) {
  Ref r = slab_.alloc(size);
  if (r != 0 || safe) return r;
  for (int i = 0; i < kEvictionRounds && evict(true, now) > 0; i++) {
    *forcible = true;
    r = slab_.alloc(size);
    if (r != 0) return r;
  }
  return 0;
}

}  // namespace moonphase::shm
