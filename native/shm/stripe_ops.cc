// The operations on plain values, and those on the whole dictionary.
#include <sys/mman.h>

#include <cstring>

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

}  // namespace

GetResult Stripe::copy_out(uint8_t type, const char* value, size_t size, const Sink& sink) const {
  GetResult res;
  res.type = static_cast<Type>(type);
  res.size = size;
  switch (res.type) {
    case Type::kBoolean:
      res.number = value[0] != 0;
      break;
    case Type::kNumber:
      std::memcpy(&res.number, value, sizeof res.number);
      break;
    case Type::kString: {
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
  return res;
}

GetResult Stripe::get(Str key, uint32_t hash, int64_t now, bool stale_too, const Sink& sink) {
  Guard guard(*this);
  if (!stale_too) evict(false, now);
  Ref r;
  Found found = lookup(key, hash, now, &r);
  log_.commit();
  if (found == Found::kNone || (found == Found::kExpired && !stale_too)) return {};
  Entry* e = entry(r);
  GetResult res = copy_out(e->type(), e->value(), e->value_len, sink);
  res.user_flags = e->user_flags;
  res.stale = found == Found::kExpired;
  return res;
}

StoreResult Stripe::store(int mode, Str key, uint32_t hash, const Value& value, int64_t ttl_ms,
                          uint32_t user_flags, int64_t now) {
  if (key.size() > kMaxKey) return {kError, "key too long", false};
  Str plain;
  char flag;
  switch (value.type) {
    case Type::kString:
      plain = value.bytes;
      break;
    case Type::kNumber:
      plain = {reinterpret_cast<const char*>(&value.number), sizeof value.number};
      break;
    case Type::kBoolean:
      flag = value.number != 0;
      plain = {&flag, 1};
      break;
    case Type::kNil:
      if ((mode & (kAdd | kReplace)) != 0)
        return {kError, "attempt to add or replace nil values", false};
      break;
    default:
      return {kError, "unsupported value type", false};
  }
  Guard guard(*this);
  return put(mode, key, hash, static_cast<uint8_t>(value.type), plain, deadline(ttl_ms, now),
             user_flags, now, false);
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
      return {};
    }
    remove(r);
  }
  StoreResult res;
  if (!nil) {
    r = make_room(chunk_size(key.size(), plain.size()), (mode & kSafe) != 0, now, &res.forcible);
    if (r != 0) {
      Entry* e = link(r, key, hash, type, static_cast<uint32_t>(plain.size()), expires, user_flags);
      if (!plain.empty()) std::memcpy(e->value(), plain.data(), plain.size());
      log_.commit();
    } else {
      res.rc = kError;
      res.error = "no memory";
    }
  }
  if (staged) unstage();
  return res;
}

void Stripe::overwrite(Ref r, uint8_t type, Str plain, uint64_t expires, uint32_t user_flags) {
  Entry* e = entry(r);
  bump(r);
  log_.put(e->expires, expires);
  log_.put(e->user_flags, user_flags);
  log_.put(e->meta, Entry::make_meta(e->key_len(), type));
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
  Guard guard(*this);
  evict(false, now);
  Ref r;
  Found found = lookup(key, hash, now, &r);
  log_.commit();
  IncrResult res;
  if (found == Found::kLive) {
    Entry* e = entry(r);
    if (e->type() != kType) return {kError, "not a number", false, 0};
    std::memcpy(&res.number, e->value(), sizeof res.number);
    res.number += by;
    // One aligned store: done or not done.
    __atomic_store(reinterpret_cast<double*>(e->value()), &res.number, __ATOMIC_RELAXED);
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
      return res;
    }
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
}

void Stripe::flush(int64_t now) {
  for (Ref r = state_->newest; r != 0; r = entry(r)->older) {
    __atomic_store_n(&entry(r)->expires, uint64_t{1}, __ATOMIC_RELAXED);
  }
  evict(true, now);
}

uint32_t Stripe::flush_expired(uint32_t max, int64_t now) {
  Guard guard(*this);
  uint32_t freed = 0;
  for (Ref r = state_->oldest; r != 0;) {
    Ref newer = entry(r)->newer;
    if (expired(entry(r), now)) {
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
