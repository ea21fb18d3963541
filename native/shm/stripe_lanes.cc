// Operations that leave the structure of a loose zone as it is need not wait for each other: a
// lookup that moves nothing, a number that takes another one's place, a counter. Each thread does
// them in a lane of its own, on a cache line that nobody else writes to.
//
// While the lanes are open nobody changes the structure. Who has the lock of the zone closes them
// first and waits for those that are inside; after some operations that a lane would have done it
// opens them again. An operation in a lane is done by one store or not at all, so whoever dies
// there leaves nothing to repair.
#include "shm/stripe.h"

namespace moonphase::shm {

namespace {

constexpr auto kNumberType = static_cast<uint8_t>(Type::kNumber);

class Inside {
 public:
  explicit Inside(Lane* lane) : lane_(lane) {}
  ~Inside() {
    if (lane_ != nullptr) robust_leave(&lane_->lock);
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  explicit operator bool() const { return lane_ != nullptr; }
  Lane* operator->() const { return lane_; }

 private:
  Lane* lane_;
};

double* counter(Entry* e) { return reinterpret_cast<double*>(e->value()); }

}  // namespace

Lane* Stripe::enter() {
  if (__atomic_load_n(&header_->open, __ATOMIC_RELAXED) == 0) return nullptr;
  RobustLock* lock = robust_take_one(&header_->lanes[0].lock, sizeof(Lane), ZoneHeader::kLanes);
  if (lock == nullptr) return nullptr;
  // Whoever closes the lanes sees us, or we see that they are closed.
  if (__atomic_load_n(&header_->open, __ATOMIC_SEQ_CST) != 0 &&
      __atomic_load_n(&header_->generation, __ATOMIC_ACQUIRE) ==
          __atomic_load_n(&generation_, __ATOMIC_ACQUIRE))
    return reinterpret_cast<Lane*>(lock);
  robust_leave(lock);
  return nullptr;
}

void Stripe::close_lanes() {
  __atomic_store_n(&header_->open, 0, __ATOMIC_SEQ_CST);
  for (const Lane& lane : header_->lanes) robust_await(&lane.lock);
}

Entry* Stripe::at_rest(Str key, uint32_t hash, int64_t now) const {
  if (has_dead(now)) return nullptr;
  Ref r = find(key, hash);
  return r != 0 && !expired(entry(r), now) && stays(r) ? entry(r) : nullptr;
}

bool Stripe::get_aside(Str key, uint32_t hash, int64_t now, bool stale_too, const Sink& sink,
                       GetResult* res) {
  Inside lane(enter());
  if (!lane || (!stale_too && has_dead(now))) return false;
  Ref r = find(key, hash);
  bool dead = r != 0 && expired(entry(r), now);
  if (r == 0 || (dead && !stale_too)) {
    lane->misses++;
    return true;
  }
  if (!dead && !stays(r)) return false;
  lane->hits++;
  Entry* e = entry(r);
  copy_out(e->type(), e->value(), e->value_len, sink, res);
  res->user_flags = e->user_flags;
  res->stale = dead;
  return true;
}

bool Stripe::store_aside(int mode, Str key, uint32_t hash, const Value& value, uint64_t expires,
                         uint32_t user_flags, int64_t now, StoreResult* res) {
  if (value.type != Type::kNumber && (mode & kAdd) == 0) return false;
  Inside lane(enter());
  if (!lane || header_->log.subscribers != 0) return false;
  Entry* e = at_rest(key, hash, now);
  if (e == nullptr) return false;
  if ((mode & kAdd) != 0) {
    *res = {kDeclined, "exists", false};
    return true;
  }
  if (e->type() != kNumberType || e->expires != expires || e->user_flags != user_flags)
    return false;
  __atomic_store(counter(e), const_cast<double*>(&value.number), __ATOMIC_RELAXED);
  return true;
}

bool Stripe::incr_aside(Str key, uint32_t hash, double by, int64_t now, IncrResult* res) {
  Inside lane(enter());
  if (!lane || header_->log.subscribers != 0) return false;
  Entry* e = at_rest(key, hash, now);
  if (e == nullptr || e->type() != kNumberType) return false;
  double was;
  __atomic_load(counter(e), &was, __ATOMIC_RELAXED);
  do {
    res->number = was + by;
  } while (!__atomic_compare_exchange(counter(e), &was, &res->number, false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED));
  return true;
}

}  // namespace moonphase::shm
