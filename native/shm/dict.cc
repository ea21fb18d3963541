#include "shm/dict.h"

#include <ctime>

#include <cstring>
#include <new>
#include <random>

#include "shm/region.h"

namespace moonphase::shm {

namespace {

int64_t realtime_ms() {
  timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  return ts.tv_sec * int64_t{1000} + ts.tv_nsec / 1000000;
}

}  // namespace

int64_t (*now_ms)() = realtime_ms;

uint64_t Dict::mapped_size(uint64_t capacity, bool lean) {
  Layout l = plan_region(capacity, lean);
  return l.size == 0 ? 0 : kRegionsAt + l.size;
}

Dict::Dict(char* base, uint64_t mapped, int fd)
    : header_(reinterpret_cast<ZoneHeader*>(base)), stripe_(base, mapped, fd) {}

Dict Dict::format(char* base, uint64_t capacity, bool lean, Str name, bool exact, int fd) {
  std::random_device random;
  auto* h = new (base) ZoneHeader{};
  h->seed = uint64_t{random()} << 32 | random();
  h->configured = capacity;
  h->exact = exact;
  h->lean = lean;
  h->loose = !exact && capacity >= kLooseFrom;
  h->name_len = static_cast<uint32_t>(name.size());
  h->layouts[0] = plan_region(capacity, lean);
  h->layouts[0].at = kRegionsAt;
  Dict d(base, kRegionsAt + h->layouts[0].size, fd);
  d.stripe_.format();
  __atomic_store_n(&h->magic, ZoneHeader::kMagic, __ATOMIC_RELEASE);
  return d;
}

bool Dict::open(char* base, uint64_t mapped, int fd, Dict* out) {
  auto* h = reinterpret_cast<ZoneHeader*>(base);
  if (mapped < kRegionsAt || __atomic_load_n(&h->magic, __ATOMIC_ACQUIRE) != ZoneHeader::kMagic) {
    return false;
  }
  *out = Dict(base, mapped, fd);
  return true;
}

GetResult Dict::get(Str key, int64_t now, const Sink& sink) {
  return stripe_.get(key, hash(key), now, false, sink);
}

GetResult Dict::get_stale(Str key, int64_t now, const Sink& sink) {
  return stripe_.get(key, hash(key), now, true, sink);
}

StoreResult Dict::store(int mode, Str key, const Value& value, int64_t ttl_ms, uint32_t user_flags,
                        int64_t now) {
  return stripe_.store(mode, key, hash(key), value, ttl_ms, user_flags, now);
}

StoreResult Dict::cas(Str key, const Value& old, const Value& value, int64_t ttl_ms,
                      uint32_t user_flags, int64_t now) {
  return stripe_.cas(key, hash(key), old, value, ttl_ms, user_flags, now);
}

void Dict::get_multi(std::span<const Str> keys, int64_t now, const Sink& sink, GetResult* results) {
  stripe_.get_multi(keys, now, sink, results);
}

StoreResult Dict::set_multi(std::span<const Item> items, int64_t ttl_ms, uint32_t user_flags,
                            int64_t now, size_t* stored) {
  return stripe_.set_multi(items, ttl_ms, user_flags, now, stored);
}

IncrResult Dict::incr(Str key, double by, bool has_init, double init, int64_t init_ttl_ms,
                      int64_t now) {
  return stripe_.incr(key, hash(key), by, has_init, init, init_ttl_ms, now);
}

PushResult Dict::push(Str key, End end, const Value& value, int64_t now) {
  return stripe_.push(key, hash(key), end, value, now);
}

GetResult Dict::pop(Str key, End end, int64_t now, const Sink& sink) {
  return stripe_.pop(key, hash(key), end, now, sink);
}

PushResult Dict::llen(Str key, int64_t now) { return stripe_.llen(key, hash(key), now); }

Rc Dict::ttl(Str key, int64_t now, int64_t* ttl_ms) {
  return stripe_.ttl(key, hash(key), now, ttl_ms);
}

Rc Dict::set_expire(Str key, int64_t ttl_ms, int64_t now) {
  return stripe_.set_expire(key, hash(key), ttl_ms, now);
}

void Dict::flush_all(int64_t now) { stripe_.flush_all(now); }

uint32_t Dict::flush_expired(uint32_t max, int64_t now) { return stripe_.flush_expired(max, now); }

void Dict::keys(uint32_t max, int64_t now, void (*each)(void* owner, Str key), void* owner) {
  stripe_.keys(max, now, each, owner);
}

uint64_t Dict::capacity() { return stripe_.stats().capacity; }

uint64_t Dict::free_space() { return stripe_.free_space(); }

uint32_t Dict::entries() { return stripe_.entries(); }

Stats Dict::stats() { return stripe_.stats(); }

const char* Dict::resize(uint64_t capacity, int64_t now) { return stripe_.resize(capacity, now); }

const char* Dict::count_subscriber(int by) { return stripe_.count_subscriber(by); }

void Dict::read_changes(uint64_t* position, void (*each)(void* owner, Change change, Str key),
                        void* owner) {
  stripe_.read_changes(position, each, owner);
}

uint64_t Dict::changes_written() { return stripe_.changes_written(); }

const char* Dict::check() { return stripe_.check(); }

void Dict::recover() { stripe_.recover(); }

}  // namespace moonphase::shm
