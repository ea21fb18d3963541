// The operations on lists.
#include <cstring>

#include "shm/stripe.h"

namespace moonphase::shm {

namespace {

constexpr auto kListType = static_cast<uint8_t>(Type::kList);
constexpr const char* kNotList = "value not a list";

// nginx rounds the chunk of a list's entry up to its word.
constexpr size_t list_chunk_size(size_t key_len) {
  return align_up(kNginxEntryHeader + key_len + kNginxListHead, sizeof(void*));
}

}  // namespace

PushResult Stripe::push(Str key, uint32_t hash, End end, const Value& value, int64_t now) {
  Str plain = value.bytes;
  if (value.type == Type::kNumber) {
    plain = {reinterpret_cast<const char*>(&value.number), sizeof value.number};
  } else if (value.type != Type::kString) {
    return {kError, "bad value type", 0};
  }
  if (key.size() > kMaxKey) return {kError, "key too long", 0};

  Guard guard(*this);
  evict(false, now);
  Ref r;
  Found found = lookup(key, hash, now, &r);
  log_.commit();
  if (found == Found::kLive && !is_list(entry(r))) return {kError, kNotList, 0};
  if (found == Found::kExpired) {
    if (is_list(entry(r))) {
      drain_list(entry(r));
    } else {
      remove(r);
      found = Found::kNone;
    }
  }

  // From here on one step: an entry without a node is never seen.
  Entry* e;
  if (found == Found::kNone) {
    r = slab_.alloc(list_chunk_size(key.size()));
    if (r == 0) return {kDeclined, "no memory", 0};
    e = link(r, key, hash, kListType, 0, 0, 0);
    *list(e) = {};
  } else {
    e = entry(r);
    if (found == Found::kExpired) {
      log_.put(e->expires, uint64_t{0});
      bump(r);
    }
  }
  Ref fresh = slab_.alloc(kNginxNodeHeader + plain.size());
  if (fresh == 0) {
    if (e->value_len == 0) {
      unlink(r);
      slab_.free(r);
    }
    log_.commit();
    return {kError, "no memory", 0};
  }
  ListNode* n = node(fresh);
  ListHead* head = list(e);
  n->value_len = static_cast<uint32_t>(plain.size());
  n->type = static_cast<uint32_t>(value.type);
  if (!plain.empty()) std::memcpy(n->value(), plain.data(), plain.size());
  if (end == End::kLeft) {
    n->prev = 0;
    n->next = head->first;
    log_.put(head->first != 0 ? node(head->first)->prev : head->last, fresh);
    log_.put(head->first, fresh);
  } else {
    n->next = 0;
    n->prev = head->last;
    log_.put(head->last != 0 ? node(head->last)->next : head->first, fresh);
    log_.put(head->last, fresh);
  }
  log_.put(e->value_len, e->value_len + 1);
  log_.commit();
  note(Change::kSet, key);
  return {kOk, nullptr, e->value_len};
}

GetResult Stripe::pop(Str key, uint32_t hash, End end, int64_t now, const Sink& sink) {
  Guard guard(*this);
  evict(false, now);
  Ref r;
  Found found = lookup(key, hash, now, &r);
  log_.commit();
  if (found != Found::kLive) return {};
  Entry* e = entry(r);
  if (!is_list(e)) {
    GetResult res;
    res.rc = kError;
    res.error = kNotList;
    return res;
  }
  ListHead* head = list(e);
  Ref taken = end == End::kLeft ? head->first : head->last;
  ListNode* n = node(taken);
  GetResult res;
  copy_out(static_cast<uint8_t>(n->type), n->value(), n->value_len, sink, &res);
  if (res.rc != kOk) return res;
  log_.put(n->prev != 0 ? node(n->prev)->next : head->first, n->next);
  log_.put(n->next != 0 ? node(n->next)->prev : head->last, n->prev);
  slab_.free(taken);
  bool last = e->value_len == 1;
  if (last) {
    unlink(r);
    slab_.free(r);
  } else {
    log_.put(e->value_len, e->value_len - 1);
  }
  log_.commit();
  note(last ? Change::kDelete : Change::kSet, key);
  return res;
}

PushResult Stripe::llen(Str key, uint32_t hash, int64_t now) {
  Guard guard(*this);
  evict(false, now);
  Ref r;
  Found found = lookup(key, hash, now, &r);
  log_.commit();
  if (found != Found::kLive) return {};
  if (!is_list(entry(r))) return {kError, kNotList, 0};
  return {kOk, nullptr, entry(r)->value_len};
}

}  // namespace moonphase::shm
