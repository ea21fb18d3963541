// One random operation, so that the model, crash and thread tests all draw from the same mixture.
#pragma once

#include "shm_test.h"

namespace shm_test {

enum class Op {
  kGet,
  kGetStale,
  kStore,
  kDelete,
  kIncr,
  kPush,
  kPop,
  kLlen,
  kTtl,
  kSetExpire,
  kFlushAll,
  kFlushExpired,
  kKeys,
  kFreeSpace,
  kCas,
  kSetMulti
};

struct Step {
  Op op = Op::kGet;
  std::string key, text;
  int mode = 0;
  Value value;
  double by = 0, init = 0;
  bool has_init = false;
  int64_t ttl = 0;
  uint32_t flags = 0, max = 0;
  End end = End::kLeft;

  // `largest`: of string values.
  static Step random(Rng& rng, uint32_t keys, uint32_t largest) {
    Step s;
    s.key = "k" + std::to_string(rng.below(keys));
    if (rng.below(4) == 0) s.key += std::string(rng.below(rng.below(10) == 0 ? 300 : 20), 'x');
    s.ttl = rng.below(3) == 0 ? rng.below(200) : 0;
    s.flags = rng.below(3) == 0 ? rng.below(100) : 0;
    s.end = rng.below(2) == 0 ? End::kLeft : End::kRight;
    s.by = static_cast<double>(rng.below(1000)) / 4;
    s.init = rng.below(1000);
    s.has_init = rng.below(2) == 0;
    s.max = rng.below(4);
    uint32_t dice = rng.below(1000);
    if (dice < 230)
      s.op = Op::kGet;
    else if (dice < 250)
      s.op = Op::kCas;
    else if (dice < 300)
      s.op = Op::kGetStale;
    else if (dice < 620)
      s.op = Op::kStore;
    else if (dice < 660)
      s.op = Op::kDelete;
    else if (dice < 740)
      s.op = Op::kIncr;
    else if (dice < 850)
      s.op = Op::kPush;
    else if (dice < 910)
      s.op = Op::kPop;
    else if (dice < 930)
      s.op = Op::kLlen;
    else if (dice < 950)
      s.op = Op::kTtl;
    else if (dice < 980)
      s.op = Op::kSetExpire;
    else if (dice < 981)
      s.op = Op::kFlushAll;
    else if (dice < 990)
      s.op = Op::kFlushExpired;
    else if (dice < 993)
      s.op = Op::kKeys;
    else if (dice < 997)
      s.op = rng.below(2) == 0 ? Op::kCas : Op::kSetMulti;
    else
      s.op = Op::kFreeSpace;
    s.mode = static_cast<int>(rng.below(3)) | (rng.below(4) == 0 ? kSafe : 0);
    uint32_t kind = rng.below(10);
    if (s.op == Op::kPush) kind = rng.below(2) == 0 ? 3 : 9;
    if (kind == 0) {
      s.value = boolean(rng.below(2) == 0);
    } else if (kind < 4) {
      s.value = number(rng.below(1000));
    } else {
      uint32_t size = kind < 8 ? rng.below(64) : kind == 8 ? rng.below(600) : rng.below(largest);
      s.text.assign(size, static_cast<char>('a' + rng.below(26)));
      s.value.type = Type::kString;
    }
    if (s.op == Op::kDelete) {
      s.op = Op::kStore;
      s.mode &= kSafe;
      s.value = nil();
    }
    return s;
  }

  // Runs on a Dict or a Model, which answer in the same form.
  template <class D>
  std::string run(D& d, int64_t now) const {
    Value v = value;
    v.bytes = text;
    int64_t left = 0;
    switch (op) {
      case Op::kGet:
        return do_get(d, now, false);
      case Op::kGetStale:
        return do_get(d, now, true);
      case Op::kStore:
      case Op::kDelete:
        return show(d.store(mode, key, v, ttl, flags, now));
      case Op::kIncr:
        return show(d.incr(key, by, has_init, init, ttl, now));
      case Op::kPush:
        return show(d.push(key, end, v, now));
      case Op::kPop:
        return do_pop(d, now);
      case Op::kLlen:
        return show(d.llen(key, now));
      case Op::kTtl: {
        Rc rc = d.ttl(key, now, &left);
        return std::to_string(rc) + " " + std::to_string(left);
      }
      case Op::kSetExpire:
        return std::to_string(d.set_expire(key, ttl, now));
      case Op::kCas: {
        // Half of them hold the value that is there.
        StringSink sink;
        GetResult r = has_init ? peek(d, now, sink) : GetResult{};
        Value old = r.type == Type::kNil || r.rc != kOk
                        ? number(init)
                        : Value{.type = r.type, .number = r.number, .bytes = {r.data, r.size}};
        std::string kept(r.rc == kOk && r.data != nullptr ? Str(r.data, r.size) : Str());
        if (r.data != nullptr) old.bytes = kept;
        if (max == 0) old = nil();
        return show(d.cas(key, old, v, ttl, flags, now));
      }
      case Op::kSetMulti: {
        Item items[] = {{key, v}, {"k1", number(by)}, {"k2", nil()}};
        size_t stored = 0;
        std::string said = show(d.set_multi(items, ttl, flags, now, &stored));
        return said + " " + std::to_string(stored);
      }
      case Op::kFlushAll:
        d.flush_all(now);
        return "";
      case Op::kFlushExpired:
        return std::to_string(d.flush_expired(max, now));
      case Op::kKeys:
        return do_keys(d, now);
      default:
        return std::to_string(d.free_space());
    }
  }

 private:
  GetResult peek(Dict& d, int64_t now, StringSink& sink) const {
    return d.get(key, now, sink.sink);
  }
  template <class M>
  GetResult peek(M& m, int64_t now, StringSink&) const {
    return m.get(key, now, false);
  }
  std::string do_get(Dict& d, int64_t now, bool stale) const {
    return stale ? get_stale(d, key, now) : get(d, key, now);
  }
  std::string do_pop(Dict& d, int64_t now) const { return pop(d, key, end, now); }
  std::string do_keys(Dict& d, int64_t now) const { return keys(d, max, now); }
  template <class M>
  std::string do_get(M& m, int64_t now, bool stale) const {
    return show(m.get(key, now, stale));
  }
  template <class M>
  std::string do_pop(M& m, int64_t now) const {
    return show(m.pop(key, end, now));
  }
  template <class M>
  std::string do_keys(M& m, int64_t now) const {
    return m.keys(max, now);
  }
};

}  // namespace shm_test
