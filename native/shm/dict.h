// A shared dictionary: what the zone's memory holds, seen through one process's mapping. All
// functions may be called from any thread of any process that maps the zone. Results and error
// texts are OpenResty's.
//
// A key goes to the stripe that its hash names. There is one stripe now, hence one exact LRU order.
#pragma once

#include <span>

#include "shm/hash.h"
#include "shm/stripe.h"

namespace moonphase::shm {

// The clock that callers without one of their own use, in milliseconds since the epoch. The
// embedder sets it once, before the first dictionary; by default it is the system's realtime clock.
extern int64_t (*now_ms)();

class Dict {
 public:
  Dict() = default;

  // Bytes of shared memory that a zone of `capacity` needs; 0: too large. `lean`: with a small
  // staging area, all of which can be committed beforehand (values over 1 MB that are replaced when
  // a process dies may then be lost).
  static uint64_t mapped_size(uint64_t capacity, bool lean);
  // `base`: zeroed memory of mapped_size(capacity, lean) that nobody else uses yet. `fd`: the file
  // that it maps, which stays open; -1: none, and the zone cannot be resized.
  static Dict format(char* base, uint64_t capacity, bool lean, Str name, bool exact, int fd);
  // Memory that format() has been called on, by whichever process. False: it is not a zone of ours.
  static bool open(char* base, uint64_t mapped, int fd, Dict* out);

  GetResult get(Str key, int64_t now, const Sink& sink);
  // Expired entries too, as long as their memory was not needed; frees nothing.
  GetResult get_stale(Str key, int64_t now, const Sink& sink);
  // `mode`: StoreMode bits. `ttl_ms` ≤ 0: never expires. Type kNil with kSet deletes.
  StoreResult store(int mode, Str key, const Value& value, int64_t ttl_ms, uint32_t user_flags,
                    int64_t now);
  // `init_ttl_ms` counts only when the entry is made. On success `number` is the new value.
  // Stores `value` (kNil: deletes) if the live entry's value equals `old` (kNil: if there is none).
  // kDeclined, "changed": it does not.
  StoreResult cas(Str key, const Value& old, const Value& value, int64_t ttl_ms,
                  uint32_t user_flags, int64_t now);
  // Several keys under one lock. `sink.grow` is called for each string.
  void get_multi(std::span<const Str> keys, int64_t now, const Sink& sink, GetResult* results);
  // Several keys under one lock; ends at the first that finds no memory. *stored: how many did.
  StoreResult set_multi(std::span<const Item> items, int64_t ttl_ms, uint32_t user_flags,
                        int64_t now, size_t* stored);
  IncrResult incr(Str key, double by, bool has_init, double init, int64_t init_ttl_ms, int64_t now);
  PushResult push(Str key, End end, const Value& value, int64_t now);
  // Type kNil: there is no such list. Numbers and strings come back as they were pushed.
  GetResult pop(Str key, End end, int64_t now, const Sink& sink);
  PushResult llen(Str key, int64_t now);
  Rc ttl(Str key, int64_t now, int64_t* ttl_ms);
  Rc set_expire(Str key, int64_t ttl_ms, int64_t now);
  void flush_all(int64_t now);
  uint32_t flush_expired(uint32_t max, int64_t now);
  void keys(uint32_t max, int64_t now, void (*each)(void* owner, Str key), void* owner);
  uint64_t capacity();
  // As the configuration gave it, whatever resize() has made of it.
  uint64_t configured() const { return header_->configured; }
  uint64_t free_space();
  uint32_t entries();

  Stats stats();
  // The same entries in a zone of `capacity` bytes; every process goes on with it. Null, or why
  // not, and then nothing has changed: "no memory" also when the live entries would not fit.
  const char* resize(uint64_t capacity, int64_t now);

  // A process that reads the news counts itself in (`by` 1) and out (-1). Null, or why not.
  const char* count_subscriber(int by);
  // News since *position, which is moved on; kLost: some are gone, anything may have changed.
  // `each` is called under the lock: it copies, nothing else.
  void read_changes(uint64_t* position, void (*each)(void* owner, Change change, Str key),
                    void* owner);
  uint64_t changes_written();
  ChangeLog* change_log() { return &header_->log; }

  // Lets go of what it has mapped itself, after a resize; nobody uses it any more.
  void unmap() { stripe_.unmap(); }

  const char* check();
  // For tests: recovery as after the death of a lock holder.
  void recover();
  const ZoneHeader* header() const { return header_; }

 private:
  Dict(char* base, uint64_t mapped, int fd);
  uint32_t hash(Str key) const { return hash_key(key, header_->seed); }

  ZoneHeader* header_ = nullptr;
  Stripe stripe_;
};

}  // namespace moonphase::shm
