// A dictionary as OpenResty has it, written as plainly as possible: std containers, no lock, no
// journal, its own arithmetic of pages and chunks. The random test compares every answer of
// shm::Dict with this one's.
#pragma once

#include <array>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>

#include "shm_test.h"

namespace shm_test {

// Pages and chunks, in nginx's order of choice.
class ModelSlab {
 public:
  explicit ModelSlab(uint64_t size) : pages_(static_cast<size_t>(nginx_page_count(size))) {
    if (!pages_.empty()) free_.push_back({0, pages_.size()});
  }
  struct Chunk {
    size_t page = 0, index = 0;
    bool operator==(const Chunk&) const = default;
  };
  std::optional<Chunk> alloc(size_t size) {
    if (size > 2048) {
      auto page = take((size + 4095) / 4096);
      if (!page) return {};
      pages_[*page].kind = kRun;
      pages_[*page].length = (size + 4095) / 4096;
      return Chunk{*page, 0};
    }
    size_t chunk = 32;
    while (chunk < size) chunk *= 2;
    auto& roomy = roomy_[chunk];
    if (roomy.empty()) {
      auto page = take(1);
      if (!page) return {};
      Page& p = pages_[*page];
      p.kind = kChunks;
      p.size = chunk;
      p.used.assign(4096 / chunk, false);
      p.count = 0;
      if (chunk == 32) p.used[0] = true;
      roomy.push_front(*page);
    }
    size_t at = roomy.front();
    Page& p = pages_[at];
    size_t i = 0;
    while (p.used[i]) i++;
    p.used[i] = true;
    p.count++;
    if (p.count == capacity(p)) roomy.pop_front();
    return Chunk{at, i};
  }
  void free(Chunk c) {
    Page& p = pages_[c.page];
    if (p.kind == kRun) {
      give(c.page, p.length);
      return;
    }
    CHECK(p.kind == kChunks && p.used[c.index]);
    auto& roomy = roomy_[p.size];
    if (p.count == capacity(p)) roomy.push_front(c.page);
    p.used[c.index] = false;
    if (--p.count == 0) {
      roomy.remove(c.page);
      give(c.page, 1);
    }
  }
  size_t free_space() const {
    size_t n = 0;
    for (auto& r : free_) n += r.length;
    return n * 4096;
  }

 private:
  enum Kind { kFree, kRun, kChunks };
  struct Page {
    Kind kind = kFree;
    size_t length = 0, size = 0, count = 0;
    std::vector<bool> used;
  };
  struct Run {
    size_t at, length;
  };
  static size_t capacity(const Page& p) { return 4096 / p.size - (p.size == 32 ? 1 : 0); }
  std::optional<size_t> take(size_t n) {
    for (auto it = free_.begin(); it != free_.end(); ++it) {
      if (it->length < n) continue;
      size_t at = it->at;
      if (it->length == n) {
        free_.erase(it);
      } else {
        it->at += n;
        it->length -= n;
      }
      return at;
    }
    return {};
  }
  void give(size_t at, size_t n) {
    for (size_t i = at; i < at + n; i++) pages_[i].kind = kFree;
    Run run{at, n};
    for (auto it = free_.begin(); it != free_.end();) {
      if (it->at == run.at + run.length) {
        run.length += it->length;
      } else if (it->at + it->length == run.at) {
        run.at = it->at;
        run.length += it->length;
      } else {
        ++it;
        continue;
      }
      it = free_.erase(it);
    }
    free_.push_front(run);
  }
  std::vector<Page> pages_;
  std::list<Run> free_;
  std::map<size_t, std::list<size_t>> roomy_;
};

class Model {
 public:
  Model(uint64_t size, const std::string& name) : slab_(size) {
    slab_.alloc(80);
    slab_.alloc(28 + name.size());
  }

  GetResult get(const std::string& key, int64_t now, bool stale_too) {
    if (!stale_too) expire(now, 2, false);
    GetResult r;
    Item* e = lookup(key, now);
    if (e == nullptr || (dead(*e, now) && !stale_too)) return r;
    fill(&r, e->value);
    if (e->value.type == Type::kList) {
      r.rc = kError;
      r.error = "value is a list";
    }
    r.user_flags = e->flags;
    r.stale = dead(*e, now);
    return r;
  }

  StoreResult cas(const std::string& key, const Value& old, const Value& value, int64_t ttl,
                  uint32_t flags, int64_t now) {
    auto it = index_.find(key);
    Item* e = it == index_.end() || dead(*it->second, now) ? nullptr : &*it->second;
    bool equal = (e == nullptr) == (old.type == Type::kNil);
    if (equal && e != nullptr) {
      Stored o = keep(old);
      equal = o.type == e->value.type && o.number == e->value.number && o.text == e->value.text;
    }
    if (!equal) return {kDeclined, "changed", false};
    return store(kSet, key, value, ttl, flags, now);
  }
  StoreResult set_multi(std::span<const moonphase::shm::Item> items, int64_t ttl, uint32_t flags,
                        int64_t now, size_t* stored) {
    StoreResult all;
    *stored = 0;
    for (auto& item : items) {
      StoreResult one = store(kSet, std::string(item.key), item.value, ttl, flags, now);
      one.forcible = one.forcible || all.forcible;
      all = one;
      if (all.rc != kOk) break;
      ++*stored;
    }
    return all;
  }
  StoreResult store(int mode, const std::string& key, const Value& value, int64_t ttl,
                    uint32_t flags, int64_t now) {
    bool nil = value.type == Type::kNil;
    if (nil && (mode & (kAdd | kReplace)) != 0)
      return {kError, "attempt to add or replace nil values", false};
    expire(now, 2, false);
    Item* e = lookup(key, now);
    bool live = e != nullptr && !dead(*e, now);
    if ((mode & kReplace) != 0 && !live) return {kDeclined, "not found", false};
    if ((mode & kAdd) != 0 && live) return {kDeclined, "exists", false};
    Stored v = keep(value);
    int64_t expires = ttl > 0 ? now + ttl : 0;
    if (e != nullptr) {
      if (!nil && e->value.type != Type::kList && length(e->value) == length(v)) {
        touch(e);
        e->value = v;
        e->expires = expires;
        e->flags = flags;
        return {};
      }
      drop(e);
    }
    if (nil) return {};
    StoreResult r;
    auto chunk = room(68 + key.size() + length(v), (mode & kSafe) != 0, now, &r.forcible);
    if (!chunk) {
      r.rc = kError;
      r.error = "no memory";
      return r;
    }
    add({.key = key, .value = v, .expires = expires, .flags = flags, .chunk = *chunk, .nodes = {}});
    return r;
  }

  IncrResult incr(const std::string& key, double by, bool has_init, double init, int64_t ttl,
                  int64_t now) {
    expire(now, 2, false);
    Item* e = lookup(key, now);
    if (e != nullptr && !dead(*e, now)) {
      if (e->value.type != Type::kNumber) return {kError, "not a number", false, 0};
      e->value.number += by;
      return {kOk, nullptr, false, e->value.number};
    }
    if (!has_init) return {kError, "not found", false, 0};
    IncrResult r;
    r.number = by + init;
    Stored v{.type = Type::kNumber, .number = r.number, .text = ""};
    int64_t expires = ttl > 0 ? now + ttl : 0;
    if (e != nullptr) {
      if (e->value.type != Type::kList && length(e->value) == 8) {
        touch(e);
        e->value = v;
        e->expires = expires;
        e->flags = 0;
        return r;
      }
      drop(e);
    }
    auto chunk = room(68 + key.size() + 8, false, now, &r.forcible);
    if (!chunk) {
      r.rc = kError;
      r.error = "no memory";
      return r;
    }
    add({.key = key, .value = v, .expires = expires, .flags = 0, .chunk = *chunk, .nodes = {}});
    return r;
  }

  PushResult push(const std::string& key, End end, const Value& value, int64_t now) {
    expire(now, 2, false);
    Item* e = lookup(key, now);
    if (e != nullptr && !dead(*e, now) && e->value.type != Type::kList)
      return {kError, "value not a list", 0};
    if (e != nullptr && dead(*e, now)) {
      if (e->value.type == Type::kList) {
        for (auto& n : e->nodes) slab_.free(n.chunk);
        e->nodes.clear();
        e->expires = 0;
        touch(e);
      } else {
        drop(e);
        e = nullptr;
      }
    }
    if (e == nullptr) {
      auto chunk = slab_.alloc((68 + key.size() + 16 + 7) / 8 * 8);
      if (!chunk) return {kDeclined, "no memory", 0};
      add({.key = key,
           .value = {.type = Type::kList, .number = 0, .text = ""},
           .expires = 0,
           .flags = 0,
           .chunk = *chunk,
           .nodes = {}});
      e = &items_.front();
    }
    Stored v = keep(value);
    auto chunk = slab_.alloc(21 + length(v));
    if (!chunk) {
      if (e->nodes.empty()) drop(e);
      return {kError, "no memory", 0};
    }
    e->nodes.insert(end == End::kLeft ? e->nodes.begin() : e->nodes.end(), {v, *chunk});
    return {kOk, nullptr, static_cast<uint32_t>(e->nodes.size())};
  }

  // The result's bytes live until the next call.
  GetResult pop(const std::string& key, End end, int64_t now) {
    GetResult r;
    expire(now, 2, false);
    Item* e = lookup(key, now);
    if (e == nullptr || dead(*e, now)) return r;
    if (e->value.type != Type::kList) {
      r.rc = kError;
      r.error = "value not a list";
      return r;
    }
    auto it = end == End::kLeft ? e->nodes.begin() : std::prev(e->nodes.end());
    popped_ = it->value;
    slab_.free(it->chunk);
    e->nodes.erase(it);
    if (e->nodes.empty()) drop(e);
    fill(&r, popped_);
    return r;
  }

  PushResult llen(const std::string& key, int64_t now) {
    expire(now, 2, false);
    Item* e = lookup(key, now);
    if (e == nullptr || dead(*e, now)) return {};
    if (e->value.type != Type::kList) return {kError, "value not a list", 0};
    return {kOk, nullptr, static_cast<uint32_t>(e->nodes.size())};
  }

  Rc ttl(const std::string& key, int64_t now, int64_t* ttl) {
    auto it = index_.find(key);
    if (it == index_.end()) return kDeclined;
    *ttl = it->second->expires == 0 ? 0 : it->second->expires - now;
    return kOk;
  }
  Rc set_expire(const std::string& key, int64_t ttl, int64_t now) {
    auto it = index_.find(key);
    if (it == index_.end()) return kDeclined;
    it->second->expires = ttl > 0 ? now + ttl : 0;
    return kOk;
  }
  void flush_all(int64_t now) {
    for (auto& e : items_) e.expires = 1;
    expire(now, 3, true);
  }
  uint32_t flush_expired(uint32_t max, int64_t now) {
    uint32_t n = 0;
    for (auto it = items_.end(); it != items_.begin();) {
      auto e = std::prev(it);
      if (!dead(*e, now)) {
        it = e;
        continue;
      }
      drop(&*e);
      if (++n == max) break;
    }
    return n;
  }
  std::string keys(uint32_t max, int64_t now) {
    std::string all;
    uint32_t n = 0;
    for (auto it = items_.rbegin(); it != items_.rend(); ++it) {
      if (dead(*it, now)) continue;
      all += it->key + ",";
      if (++n == max) break;
    }
    return all;
  }
  size_t free_space() const { return slab_.free_space(); }
  size_t entries() const { return items_.size(); }

 private:
  struct Stored {
    Type type = Type::kNil;
    double number = 0;
    std::string text;
  };
  struct Node {
    Stored value;
    ModelSlab::Chunk chunk;
  };
  struct Item {
    std::string key;
    Stored value;
    int64_t expires = 0;
    uint32_t flags = 0;
    ModelSlab::Chunk chunk;
    std::list<Node> nodes;
  };
  static bool dead(const Item& e, int64_t now) { return e.expires != 0 && e.expires <= now; }
  static Stored keep(const Value& v) {
    return {v.type, v.type == Type::kBoolean ? (v.number != 0 ? 1.0 : 0.0) : v.number,
            v.type == Type::kString ? std::string(v.bytes) : ""};
  }
  static size_t length(const Stored& v) {
    return v.type == Type::kNumber ? 8 : v.type == Type::kBoolean ? 1 : v.text.size();
  }
  static void fill(GetResult* r, const Stored& v) {
    r->type = v.type;
    r->number = v.number;
    r->data = v.text.data();
    r->size = v.text.size();
  }
  Item* lookup(const std::string& key, int64_t now) {
    auto it = index_.find(key);
    if (it == index_.end()) return nullptr;
    Item* e = &*it->second;
    if (!dead(*e, now)) touch(e);
    return e;
  }
  void touch(Item* e) { items_.splice(items_.begin(), items_, index_[e->key]); }
  void add(Item&& e) {
    items_.push_front(std::move(e));
    index_[items_.front().key] = items_.begin();
  }
  void drop(Item* e) {
    for (auto& n : e->nodes) slab_.free(n.chunk);
    slab_.free(e->chunk);
    auto it = index_[e->key];
    index_.erase(e->key);
    items_.erase(it);
  }
  int expire(int64_t now, int rounds, bool force) {
    int freed = 0;
    for (int i = 0; i < rounds && !items_.empty(); i++) {
      Item& oldest = items_.back();
      if (!(force && i == 0) && !dead(oldest, now)) break;
      drop(&oldest);
      freed++;
    }
    return freed;
  }
  std::optional<ModelSlab::Chunk> room(size_t size, bool safe, int64_t now, bool* forcible) {
    auto c = slab_.alloc(size);
    if (c || safe) return c;
    for (int i = 0; i < 30; i++) {
      if (expire(now, 3, true) == 0) return {};
      *forcible = true;
      c = slab_.alloc(size);
      if (c) return c;
    }
    return {};
  }
  ModelSlab slab_;
  std::list<Item> items_;  // newest first
  std::unordered_map<std::string, std::list<Item>::iterator> index_;
  Stored popped_;
};

}  // namespace shm_test
