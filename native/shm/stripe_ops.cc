// The operations on plain values, and those on the whole dictionary.
#include <sys/mman.h>

#include <cstring>

#include "shm/hash.h"
#include "shm/stripe.h"

namespace moonphase::shm {

namespace {

// Overwriting this much of a value in place goes through the journal word by word; more is staged.
constexpr size_t kJournalledValue = 64;
// A staging area that has held more than this gives its memory back.
constexpr size_t kKeptStaging = 256 * 1024;

constexpr size_t chunk_size(size_t key_len, size_t value_len) {
  return kNginxEntryHeader + key_len + value_len;
}

// The value as it is stored; `flag` is room for a boolean. False: it is of no type that can be.
bool plain_bytes(const Value& value, char* flag, Str* plain) {
  switch (value.type) {
    case Type::kString:
    case Type::kEncoded:
      *plain = value.bytes;
      return true;
    case Type::kNumber:
      *plain = {reinterpret_cast<const char*>(&value.number), sizeof value.number};
      return true;
    case Type::kBoolean:
      *flag = value.number != 0;
      *plain = {flag, 1};
      return true;
    case Type::kNil:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Stripe::copy_out(uint8_t type, const char* value, size_t size, const Sink& sink,
                      GetResult* to_fill) const {
  GetResult& res = *to_fill;
  res.type = static_cast<Type>(type);
  res.size = size;
  switch (res.type) {
    case Type::kBoolean:
      res.number = value[0] != 0;
      break;
    case Type::kNumber:
      // Others may be counting it up, see stripe_lanes.cc.
      __atomic_load(reinterpret_cast<const double*>(value), &res.number, __ATOMIC_RELAXED);
      break;
    case Type::kString:
    case Type::kEncoded: {
      char* to = sink.data;
      if (size > sink.capacity) to = sink.grow != nullptr ? sink.grow(sink.owner, size) : nullptr;
      if (to == nullptr && size > 0) {
        res.rc = kError;
        break;
      }
      if (size > 0) std::memcpy(to, value, size);
      res.data = to;
      break;
    }
    default:
      res.rc = kError;
      res.error = "value is a list";
  }
}

GetResult Stripe::get(Str key, uint32_t hash, int64_t now, bool stale_too, const Sink& sink) {
  GetResult res;
  if (!get_aside(key, hash, now, stale_too, sink, &res)) {
    Guard guard(*this);
    get_locked(key, hash, now, stale_too, sink, &res);
  }
  return res;
}

void Stripe::get_locked(Str key, uint32_t hash, int64_t now, bool stale_too, const Sink& sink,
                        GetResult* res) {
  if (!stale_too) evict(false, now);
  Ref r;
  Found found = lookup(key, hash, now, &r);
  log_.commit();
  count_calm();
  if (found == Found::kNone || (found == Found::kExpired && !stale_too)) {
    header_->misses++;
    return;
  }
  header_->hits++;
  Entry* e = entry(r);
  copy_out(e->type(), e->value(), e->value_len, sink, res);
  res->user_flags = e->user_flags;
  res->stale = found == Found::kExpired;
}

StoreResult Stripe::store(int mode, Str key, uint32_t hash, const Value& value, int64_t ttl_ms,
                          uint32_t user_flags, int64_t now) {
  if (key.size() > kMaxKey) return {kError, "key too long", false};
  Str plain;
  char flag;
  if (!plain_bytes(value, &flag, &plain)) return {kError, "unsupported value type", false};
  if (value.type == Type::kNil && (mode & (kAdd | kReplace)) != 0)
    return {kError, "attempt to add or replace nil values", false};
  uint64_t expires = deadline(ttl_ms, now);
  StoreResult res;
  if (store_aside(mode, key, hash, value, expires, user_flags, now, &res)) return res;
  Guard guard(*this);
  return put(mode, key, hash, static_cast<uint8_t>(value.type), plain, expires, user_flags, now,
             false);
}

StoreResult Stripe::put(int mode, Str key, uint32_t hash, uint8_t type, Str plain, uint64_t expires,
                        uint32_t user_flags, int64_t now, bool again) {
  evict(false, now);
  Ref r;
  Found found = lookup(key, hash, now, &r);
  if ((mode & kReplace) != 0 && found != Found::kLive) {
    log_.commit();
    return {kDeclined, "not found", false};
  }
  if ((mode & kAdd) != 0 && found == Found::kLive) {
    log_.commit();
    count_calm();
    return {kDeclined, "exists", false};
  }
  bool nil = type == static_cast<uint8_t>(Type::kNil);
  bool staged = false;
  if (found != Found::kNone) {
    Entry* e = entry(r);
    bool fits = !nil && plain.size() == e->value_len && !is_list(e);
    bool stageable = plain.size() <= staging_size_ - kMaxKey - 1;
    if (plain.size() > kJournalledValue && !stageable) fits = false;
    // From here on something is destroyed. A removal alone is one step, so is a short overwrite,
    // and the loss of an expired entry is none.
    staged = stageable && !again && !nil &&
             (fits ? plain.size() > kJournalledValue : found == Found::kLive);
    log_.commit();
    if (staged) stage(mode, key, hash, type, plain, expires, user_flags, now);
    if (fits) {
      overwrite(r, type, plain, expires, user_flags);
      if (staged) unstage();
      note(Change::kSet, key);
      return {};
    }
    if (found == Found::kExpired) header_->counters.expirations++;
    remove(r);
    if (nil && found == Found::kLive) note(Change::kDelete, key);
  }
  StoreResult res;
  if (!nil) {
    r = make_room(chunk_size(key.size(), plain.size()), (mode & kSafe) != 0, now, &res.forcible);
    if (r != 0) {
      Entry* e = link(r, key, hash, type, static_cast<uint32_t>(plain.size()), expires, user_flags);
      if (!plain.empty()) std::memcpy(e->value(), plain.data(), plain.size());
      log_.commit();
      note(Change::kSet, key);
    } else {
      res.rc = kError;
      res.error = "no memory";
      if (found == Found::kLive) note(Change::kDelete, key);
    }
  }
  if (staged) unstage();
  return res;
}

void Stripe::overwrite(Ref r, uint8_t type, Str plain, uint64_t expires, uint32_t user_flags) {
  Entry* e = entry(r);
  bump(r);
  uint32_t meta = Entry::make_meta(e->key_len(), type);
  if (plain.size() == sizeof(double) && e->expires == expires && e->user_flags == user_flags &&
      e->meta == meta) {
    log_.commit();
    count_calm();
    // One aligned store: done or not done.
    double value;
    std::memcpy(&value, plain.data(), sizeof value);
    __atomic_store(reinterpret_cast<double*>(e->value()), &value, __ATOMIC_RELAXED);
    return;
  }
  log_.change(e->expires, expires);
  log_.change(e->user_flags, user_flags);
  log_.change(e->meta, meta);
  if (plain.size() <= kJournalledValue) {
    log_.put_bytes(e->value(), plain.data(), plain.size());
  } else {
    std::memcpy(e->value(), plain.data(), plain.size());
  }
  log_.commit();
}

void Stripe::stage(int mode, Str key, uint32_t hash, uint8_t type, Str plain, uint64_t expires,
                   uint32_t user_flags, int64_t now) {
  PendingState& p = state_->pending;
  std::memcpy(staging_, key.data(), key.size());
  if (!plain.empty()) std::memcpy(staging_ + kMaxKey + 1, plain.data(), plain.size());
  p.safe = (mode & kSafe) != 0;
  p.type = type;
  p.user_flags = user_flags;
  p.key_len = static_cast<uint32_t>(key.size());
  p.hash = hash;
  p.value_len = plain.size();
  p.expires = expires;
  p.now = now;
  Journal::fence();
  p.kind = PendingState::kStore;
  Journal::fence();
}

void Stripe::unstage() {
  Journal::fence();
  state_->pending.kind = PendingState::kNone;
  Journal::fence();
  if (state_->pending.value_len > kKeptStaging) {
    state_->pending.value_len = 0;
    madvise(staging_, staging_size_, MADV_REMOVE);
  }
}

IncrResult Stripe::incr(Str key, uint32_t hash, double by, bool has_init, double init,
                        int64_t init_ttl_ms, int64_t now) {
  if (key.size() > kMaxKey) return {kError, "key too long", false, 0};
  constexpr auto kType = static_cast<uint8_t>(Type::kNumber);
  IncrResult res;
  if (incr_aside(key, hash, by, now, &res)) return res;
  Guard guard(*this);
  evict(false, now);
  Ref r;
  Found found = lookup(key, hash, now, &r);
  log_.commit();
  if (found == Found::kLive) {
    Entry* e = entry(r);
    if (e->type() != kType) return {kError, "not a number", false, 0};
    std::memcpy(&res.number, e->value(), sizeof res.number);
    res.number += by;
    count_calm();
    // One aligned store: done or not done.
    __atomic_store(reinterpret_cast<double*>(e->value()), &res.number, __ATOMIC_RELAXED);
    note(Change::kSet, key);
    return res;
  }
  if (!has_init) return {kError, "not found", false, 0};
  res.number = by + init;
  Str plain{reinterpret_cast<const char*>(&res.number), sizeof res.number};
  uint64_t expires = deadline(init_ttl_ms, now);
  if (found == Found::kExpired) {
    Entry* e = entry(r);
    if (e->value_len == sizeof res.number && !is_list(e)) {
      overwrite(r, kType, plain, expires, 0);
      note(Change::kSet, key);
      return res;
    }
    header_->counters.expirations++;
    remove(r);
  }
  r = make_room(chunk_size(key.size(), plain.size()), false, now, &res.forcible);
  if (r == 0) {
    res.rc = kError;
    res.error = "no memory";
    return res;
  }
  Entry* e = link(r, key, hash, kType, sizeof res.number, expires, 0);
  std::memcpy(e->value(), plain.data(), plain.size());
  log_.commit();
  note(Change::kSet, key);
  return res;
}

Rc Stripe::ttl(Str key, uint32_t hash, int64_t now, int64_t* ttl_ms) {
  Guard guard(*this);
  Ref r = find(key, hash);
  if (r == 0) return kDeclined;
  uint64_t expires = entry(r)->expires;
  *ttl_ms = expires == 0 ? 0 : static_cast<int64_t>(expires) - now;
  return kOk;
}

Rc Stripe::set_expire(Str key, uint32_t hash, int64_t ttl_ms, int64_t now) {
  Guard guard(*this);
  Ref r = find(key, hash);
  if (r == 0) return kDeclined;
  __atomic_store_n(&entry(r)->expires, deadline(ttl_ms, now), __ATOMIC_RELAXED);
  return kOk;
}

void Stripe::flush_all(int64_t now) {
  Guard guard(*this);
  state_->pending.now = now;
  Journal::fence();
  state_->pending.kind = PendingState::kFlushAll;
  Journal::fence();
  flush(now);
  unstage();
  note(Change::kFlush, {});
}

void Stripe::flush(int64_t now) {
  for (Ref r = state_->newest; r != 0; r = entry(r)->older) {
    __atomic_store_n(&entry(r)->expires, uint64_t{1}, __ATOMIC_RELAXED);
  }
  evict(true, now);
}

bool Stripe::holds(const Entry* e, const Value& value) const {
  if (e->type() != static_cast<uint8_t>(value.type)) return false;
  char flag;
  Str plain;
  if (!plain_bytes(value, &flag, &plain) || plain.size() != e->value_len) return false;
  const char* stored = const_cast<Entry*>(e)->value();
  if (value.type == Type::kNumber) {
    double number;
    std::memcpy(&number, stored, sizeof number);
    return number == value.number;  // 0 and -0 are equal, as in Lua
  }
  return plain.empty() || std::memcmp(stored, plain.data(), plain.size()) == 0;
}

StoreResult Stripe::cas(Str key, uint32_t hash, const Value& old, const Value& value,
                        int64_t ttl_ms, uint32_t user_flags, int64_t now) {
  if (key.size() > kMaxKey) return {kError, "key too long", false};
  Str plain;
  char flag;
  if (!plain_bytes(value, &flag, &plain)) return {kError, "unsupported value type", false};
  Guard guard(*this);
  Ref r = find(key, hash);
  bool live = r != 0 && !expired(entry(r), now);
  bool same = old.type == Type::kNil ? !live : live && holds(entry(r), old);
  if (!same) return {kDeclined, "changed", false};
  return put(kSet, key, hash, static_cast<uint8_t>(value.type), plain, deadline(ttl_ms, now),
             user_flags, now, false);
}

void Stripe::get_multi(std::span<const Str> keys, int64_t now, const Sink& sink,
                       GetResult* results) {
  Guard guard(*this);
  for (Str key : keys) {
    *results = {};
    get_locked(key, hash_key(key, header_->seed), now, false, sink, results++);
  }
}

StoreResult Stripe::set_multi(std::span<const Item> items, int64_t ttl_ms, uint32_t user_flags,
                              int64_t now, size_t* stored) {
  StoreResult all;
  *stored = 0;
  Guard guard(*this);
  for (const Item& item : items) {
    Str plain;
    char flag;
    if (item.key.size() > kMaxKey) return {kError, "key too long", all.forcible};
    if (!plain_bytes(item.value, &flag, &plain))
      return {kError, "unsupported value type", all.forcible};
    StoreResult one = put(kSet, item.key, hash_key(item.key, header_->seed),
                          static_cast<uint8_t>(item.value.type), plain, deadline(ttl_ms, now),
                          user_flags, now, false);
    one.forcible = one.forcible || all.forcible;
    all = one;
    if (all.rc != kOk) return all;
    ++*stored;
  }
  return all;
}

uint32_t Stripe::flush_expired(uint32_t max, int64_t now) {
  Guard guard(*this);
  uint32_t freed = 0;
  for (Ref r = state_->oldest; r != 0;) {
    Ref newer = entry(r)->newer;
    if (expired(entry(r), now)) {
      header_->counters.expirations++;
      remove(r);
      if (++freed == max) break;
    }
    r = newer;
  }
  return freed;
}

void Stripe::keys(uint32_t max, int64_t now, void (*each)(void* owner, Str key), void* owner) {
  Guard guard(*this);
  uint32_t n = 0;
  for (Ref r = state_->oldest; r != 0; r = entry(r)->newer) {
    Entry* e = entry(r);
    if (expired(e, now)) continue;
    each(owner, {e->key(), e->key_len()});
    if (++n == max) break;
  }
}

uint64_t Stripe::free_space() {
  Guard guard(*this);
  return uint64_t{state_->free_pages} * kPageSize;
}

uint32_t Stripe::entries() {
  Guard guard(*this);
  return state_->entries;
}

}  // namespace moonphase::shm
