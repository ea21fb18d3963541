#include "shm/dict.h"

#include <ctime>

#include <bit>
#include <cstring>
#include <new>
#include <random>

#include "shm/mutex.h"

namespace moonphase::shm {

namespace {

int64_t realtime_ms() {
  timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  return ts.tv_sec * int64_t{1000} + ts.tv_nsec / 1000000;
}

constexpr uint64_t kLeanStaging = 1024 * 1024;
// No entry takes less than a chunk of 128 bytes.
constexpr uint64_t kEntriesPerPage = kPageSize / 128;

// Where a zone's parts lie; `mapped` is 0 if it is too large.
ZoneHeader plan(uint64_t capacity, bool lean) {
  ZoneHeader h{};
  uint64_t pages = nginx_page_count(capacity);
  if (pages > (kMaxMapped >> kPageShift)) return h;
  uint64_t buckets = std::bit_ceil(pages * kEntriesPerPage + 1);
  uint64_t room = pages * kPageSize;
  h.capacity = capacity;
  h.page_count = static_cast<uint32_t>(pages);
  h.bucket_count = static_cast<uint32_t>(buckets);
  h.table_at = align_up(sizeof(ZoneHeader), 64) + align_up(sizeof(StripeState), 64);
  h.buckets_at = align_up(h.table_at + pages * sizeof(PageDesc), 64);
  h.pages_at = align_up(h.buckets_at + buckets * sizeof(Ref), kPageSize);
  h.staging_at = h.pages_at + room;
  h.staging_size =
      align_up(kMaxKey + 1 + (lean && room > kLeanStaging ? kLeanStaging : room), kPageSize);
  h.mapped = h.staging_at + h.staging_size;
  // The staging area is never journalled, but everything before it is.
  if (h.staging_at > kMaxMapped) h.mapped = 0;
  return h;
}

}  // namespace

int64_t (*now_ms)() = realtime_ms;

uint64_t Dict::mapped_size(uint64_t capacity, bool lean) { return plan(capacity, lean).mapped; }

Dict::Dict(char* base, ZoneHeader* h)
    : header_(h),
      stripe_(Stripe::Parts{
          .base = base,
          .header = h,
          .state = reinterpret_cast<StripeState*>(base + align_up(sizeof(ZoneHeader), 64)),
          .table = reinterpret_cast<PageDesc*>(base + h->table_at),
          .buckets = reinterpret_cast<Ref*>(base + h->buckets_at),
          .staging = base + h->staging_at,
          .pages_at = h->pages_at,
          .page_count = h->page_count,
          .bucket_count = h->bucket_count,
          .staging_size = h->staging_size,
      }) {}

Dict Dict::format(char* base, uint64_t capacity, bool lean, Str name, bool exact) {
  ZoneHeader h = plan(capacity, lean);
  std::random_device random;
  h.seed = uint64_t{random()} << 32 | random();
  h.exact = exact;
  h.name_len = static_cast<uint32_t>(name.size());
  auto* header = new (base) ZoneHeader(h);
  auto* state = new (base + align_up(sizeof(ZoneHeader), 64)) StripeState;
  robust_init(&state->mutex);
  Dict d(base, header);
  d.stripe_.format();
  __atomic_store_n(&header->magic, ZoneHeader::kMagic, __ATOMIC_RELEASE);
  return d;
}

bool Dict::open(char* base, uint64_t mapped, Dict* out) {
  auto* h = reinterpret_cast<ZoneHeader*>(base);
  if (mapped < sizeof(ZoneHeader) ||
      __atomic_load_n(&h->magic, __ATOMIC_ACQUIRE) != ZoneHeader::kMagic || h->mapped != mapped) {
    return false;
  }
  *out = Dict(base, h);
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

uint64_t Dict::capacity() const { return header_->capacity; }

uint64_t Dict::free_space() { return stripe_.free_space(); }

uint32_t Dict::entries() { return stripe_.entries(); }

const char* Dict::check() { return stripe_.check(); }

void Dict::recover() { stripe_.recover(); }

}  // namespace moonphase::shm
