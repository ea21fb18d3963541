// A dictionary under one lock: a hash index, the exact LRU order, and the operations, in
// OpenResty's order of steps. Keys come with their hash, times are milliseconds since the epoch.
// Every function here takes the lock itself.
#pragma once

#include <span>
#include <type_traits>

#include "shm/slab.h"
#include "shm/value.h"

namespace moonphase::shm {

class Stripe {
 public:
  Stripe() = default;
  // `file`: the zone's memory, of which `mapped` bytes are mapped there; `fd` as Dict::format.
  Stripe(char* file, uint64_t mapped, int fd);
  // Makes the empty structure of the current region; nobody else has the memory yet.
  void format();

  GetResult get(Str key, uint32_t hash, int64_t now, bool stale_too, const Sink& sink);
  // `ttl_ms` ≤ 0: never expires.
  StoreResult store(int mode, Str key, uint32_t hash, const Value& value, int64_t ttl_ms,
                    uint32_t user_flags, int64_t now);
  StoreResult cas(Str key, uint32_t hash, const Value& old, const Value& value, int64_t ttl_ms,
                  uint32_t user_flags, int64_t now);
  void get_multi(std::span<const Str> keys, int64_t now, const Sink& sink, GetResult* results);
  StoreResult set_multi(std::span<const Item> items, int64_t ttl_ms, uint32_t user_flags,
                        int64_t now, size_t* stored);
  IncrResult incr(Str key, uint32_t hash, double by, bool has_init, double init,
                  int64_t init_ttl_ms, int64_t now);
  PushResult push(Str key, uint32_t hash, End end, const Value& value, int64_t now);
  GetResult pop(Str key, uint32_t hash, End end, int64_t now, const Sink& sink);
  PushResult llen(Str key, uint32_t hash, int64_t now);
  // kDeclined: not found. *ttl_ms is 0 for an entry that never expires, negative for one that has.
  Rc ttl(Str key, uint32_t hash, int64_t now, int64_t* ttl_ms);
  Rc set_expire(Str key, uint32_t hash, int64_t ttl_ms, int64_t now);
  void flush_all(int64_t now);
  uint32_t flush_expired(uint32_t max, int64_t now);  // max 0: all
  // Live keys, oldest first, at most `max` (0: all). `each` is called under the lock: it copies,
  // nothing else.
  void keys(uint32_t max, int64_t now, void (*each)(void* owner, Str key), void* owner);
  uint64_t free_space();
  uint32_t entries();
  Stats stats();
  const char* resize(uint64_t capacity, int64_t now);
  const char* count_subscriber(int by);
  void read_changes(uint64_t* position, void (*each)(void* owner, Change change, Str key),
                    void* owner);
  uint64_t changes_written();
  // Null, or what is wrong with the structure.
  const char* check();

  void unmap();

  // What lock() does after EOWNERDEAD; apart, so that tests can run it on a copy of a zone.
  void recover();

 private:
  class Guard {
   public:
    explicit Guard(Stripe& s) : s_(s) { s_.lock(); }
    ~Guard() { s_.unlock(); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    Stripe& s_;
  };
  enum class Found { kNone, kExpired, kLive };

  void lock();
  void unlock();
  // Without the lock, where the lanes are open. False: nothing was done, the lock is needed.
  bool get_aside(Str key, uint32_t hash, int64_t now, bool stale_too, const Sink& sink,
                 GetResult* res);
  bool store_aside(int mode, Str key, uint32_t hash, const Value& value, uint64_t expires,
                   uint32_t user_flags, int64_t now, StoreResult* res);
  bool incr_aside(Str key, uint32_t hash, double by, int64_t now, IncrResult* res);
  Lane* enter();
  void close_lanes();
  // The live entry that an operation may work on where it is; null: there is more to do.
  Entry* at_rest(Str key, uint32_t hash, int64_t now) const;
  void count_calm() {
    if (header_->loose != 0) header_->calm++;
  }
  // The parts of the region at `region`.
  void use(char* region, const Layout& layout);
  // Another process has resized the zone.
  void follow();
  void give_back(uint64_t from, uint64_t to);
  bool copy_entries(const Stripe& from, int64_t now);
  // For subscribers: what has changed (under the lock).
  void note(Change change, Str key) {
    if (header_->log.subscribers != 0) write_change(change, key);
  }
  void write_change(Change change, Str key);
  void lose_changes();
  void tell();

  Entry* entry(Ref r) const { return reinterpret_cast<Entry*>(base_ + (uint64_t{r} << kRefShift)); }
  ListNode* node(Ref r) const {
    return reinterpret_cast<ListNode*>(base_ + (uint64_t{r} << kRefShift));
  }
  static ListHead* list(Entry* e) { return reinterpret_cast<ListHead*>(e->value()); }
  static bool is_list(const Entry* e) { return e->type() == static_cast<uint8_t>(Type::kList); }
  static bool expired(const Entry* e, int64_t now) {
    return e->expires != 0 && static_cast<int64_t>(e->expires) <= now;
  }
  static uint64_t deadline(int64_t ttl_ms, int64_t now) {
    return ttl_ms > 0 ? static_cast<uint64_t>(now) + static_cast<uint64_t>(ttl_ms) : 0;
  }
  Ref& bucket(uint32_t hash) const { return buckets_[hash & (bucket_count_ - 1)]; }

  Ref find(Str key, uint32_t hash) const;
  // find, and a live entry becomes the newest (uncommitted).
  Found lookup(Str key, uint32_t hash, int64_t now, Ref* r);
  void bump(Ref r);
  // The oldest entry is to go at the next operation.
  bool has_dead(int64_t now) const {
    return state_->oldest != 0 && expired(entry(state_->oldest), now);
  }
  // In a loose zone lookups write nothing without need: the order of use is kept only once half of
  // the pages are in use, and an entry that is among the newest quarter stays where it is.
  bool stays(Ref r) const {
    return state_->newest == r ||
           (header_->loose != 0 && (state_->free_pages > page_count_ / 2 ||
                                    state_->pushes - entry(r)->pushed < state_->entries / 4));
  }
  void lru_unlink(Entry* e);
  void lru_push(Ref r);
  // A fresh chunk becomes an entry (uncommitted).
  Entry* link(Ref r, Str key, uint32_t hash, uint8_t type, uint32_t value_len, uint64_t expires,
              uint32_t user_flags);
  void unlink(Ref r);  // from the index and the LRU order (uncommitted)
  void remove(Ref r);  // with its memory; commits
  void drain_list(Entry* e);
  void drain_doomed();
  // Gives up to two expired entries at the old end back, with `force` first the oldest whatever it
  // is. How many.
  unsigned evict(bool force, int64_t now);
  // alloc, with evictions unless `safe`.
  Ref make_room(size_t size, bool safe, int64_t now, bool* forcible);

  // `plain` is the value as it is stored.
  StoreResult put(int mode, Str key, uint32_t hash, uint8_t type, Str plain, uint64_t expires,
                  uint32_t user_flags, int64_t now, bool again);
  void overwrite(Ref r, uint8_t type, Str plain, uint64_t expires, uint32_t user_flags);
  void stage(int mode, Str key, uint32_t hash, uint8_t type, Str plain, uint64_t expires,
             uint32_t user_flags, int64_t now);
  void unstage();
  void flush(int64_t now);
  void get_locked(Str key, uint32_t hash, int64_t now, bool stale_too, const Sink& sink,
                  GetResult* res);
  bool holds(const Entry* e, const Value& value) const;
  void copy_out(uint8_t type, const char* value, size_t size, const Sink& sink,
                GetResult* to_fill) const;
  const char* check_locked() const;
  const char* check_entry(Ref r, uint32_t* chunks) const;

  char* file_ = nullptr;
  uint64_t mapped_ = 0;
  int fd_ = -1;
  ZoneHeader* header_ = nullptr;
  uint32_t generation_ = 0;
  uint64_t extra_ = 0;  // bytes that `base_` has a mapping of its own for

  char* base_ = nullptr;  // of the region
  StripeState* state_ = nullptr;
  Ref* buckets_ = nullptr;
  char* staging_ = nullptr;
  uint32_t bucket_count_ = 0;
  uint32_t page_count_ = 0;
  uint64_t staging_size_ = 0;
  Slab slab_;
  Journal log_;
};

}  // namespace moonphase::shm
