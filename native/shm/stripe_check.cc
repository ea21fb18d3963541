// Verifies that a stripe's parts agree with each other.
#include "shm/hash.h"
#include "shm/stripe.h"

namespace moonphase::shm {

const char* Stripe::check() {
  Guard guard(*this);
  return check_locked();
}

const char* Stripe::check_locked() const {
  if (!log_.empty()) return "a step was not committed";
  if (state_->pending.kind != PendingState::kNone) return "an operation is pending";
  if (state_->doomed != 0) return "a removed entry was not freed";
  if (const char* wrong = slab_.check()) return wrong;

  uint32_t chunks = 0, seen = 0;
  Ref newer = 0;
  for (Ref r = state_->newest; r != 0; newer = r, r = entry(r)->older) {
    if (seen++ == state_->entries) return "LRU order has more entries than there are";
    if (!slab_.owns(r)) return "LRU order leads to free memory";
    if (entry(r)->newer != newer) return "LRU order is broken";
    if (const char* wrong = check_entry(r, &chunks)) return wrong;
  }
  if (seen != state_->entries) return "LRU order misses entries";
  if (state_->oldest != newer) return "LRU order has a wrong end";

  uint32_t chained = 0;
  for (uint32_t i = 0; i < bucket_count_; i++) {
    for (Ref r = buckets_[i]; r != 0; r = entry(r)->chain) {
      if (chained++ == state_->entries) return "index has more entries than there are";
      if (!slab_.owns(r)) return "index leads to free memory";
      if ((entry(r)->hash & (bucket_count_ - 1)) != i) return "entry in a wrong bucket";
    }
  }
  if (chained != state_->entries) return "index misses entries";
  // The format step takes up to two chunks that belong to no entry.
  uint32_t used = slab_.used_chunks();
  if (used < chunks || used - chunks > 2) return "chunks are lost";
  return nullptr;
}

const char* Stripe::check_entry(Ref r, uint32_t* chunks) const {
  Entry* e = entry(r);
  ++*chunks;
  if (hash_key({e->key(), e->key_len()}, header_->seed) != e->hash)
    return "key does not match its hash";
  switch (static_cast<Type>(e->type())) {
    case Type::kBoolean:
      return e->value_len == 1 ? nullptr : "boolean of a wrong size";
    case Type::kNumber:
      return e->value_len == sizeof(double) ? nullptr : "number of a wrong size";
    case Type::kString:
    case Type::kEncoded:
      return nullptr;
    case Type::kList:
      break;
    default:
      return "value of an unknown type";
  }
  uint32_t n = 0;
  Ref prev = 0;
  for (Ref at = list(e)->first; at != 0; prev = at, at = node(at)->next) {
    if (n++ == e->value_len) return "list is longer than its length";
    if (!slab_.owns(at)) return "list leads to free memory";
    if (node(at)->prev != prev) return "list is broken";
  }
  if (n != e->value_len || list(e)->last != prev) return "list has a wrong end";
  *chunks += n;
  return nullptr;
}

}  // namespace moonphase::shm
