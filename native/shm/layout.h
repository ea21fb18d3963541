// What lies in a zone's memory:
//
//   ZoneHeader | ring of changes | region
//
// and in a region, in this order:
//
//   StripeState | page table | buckets | pages | staging
//
// Only `pages` is the zone that the user sized; it is cut up exactly as nginx would cut the same
// size. Everything else is bookkeeping beside it. There are no pointers, since every process maps
// the memory elsewhere: chunks are named by a Ref, pages by their index, both within the region.
//
// A resize fills a second region, of the new size, then names it in the header by one store.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/types.h"
#include "shm/mutex.h"

namespace moonphase::shm {

constexpr size_t kPageSize = 4096;
constexpr unsigned kPageShift = 12;

// A chunk's distance from the start of the region, in units of 32 bytes (no chunk is smaller). 0:
// none.
using Ref = uint32_t;
constexpr unsigned kRefShift = 5;

constexpr uint32_t kNoPage = UINT32_MAX;
constexpr size_t kMaxKey = 65535;
// The journal names 4-byte words by 32 bits.
constexpr uint64_t kMaxMapped = uint64_t{1} << 34;

// An entry fills one chunk: this header, the key, padding to 8, then the value (or a ListHead).
struct Entry {
  Ref chain;  // next in the bucket
  Ref newer, older;
  uint32_t hash;
  uint64_t expires;    // milliseconds since the epoch; 0: never
  uint32_t value_len;  // of a list: how many nodes
  uint32_t user_flags;
  uint32_t meta;    // key length, type
  uint32_t pushed;  // StripeState::pushes when it last became the newest

  size_t key_len() const { return meta & 0xffff; }
  uint8_t type() const { return static_cast<uint8_t>(meta >> 16); }
  static uint32_t make_meta(size_t key_len, uint8_t type) {
    return static_cast<uint32_t>(key_len) | static_cast<uint32_t>(type) << 16;
  }
  char* key() { return reinterpret_cast<char*>(this + 1); }
  char* value() { return key() + ((key_len() + 7) & ~size_t{7}); }
};

struct ListHead {
  Ref first, last;
};

struct ListNode {
  Ref next, prev;
  uint32_t value_len;
  uint32_t type;
  char* value() { return reinterpret_cast<char*>(this + 1); }
};

// nginx's chunks for the same things are larger than ours, and it is their size that decides what
// fits into a zone.
constexpr size_t kNginxEntryHeader = 68;
constexpr size_t kNginxListHead = 16;
constexpr size_t kNginxNodeHeader = 21;
static_assert(sizeof(Entry) + 7 + 3 <= kNginxEntryHeader);
static_assert(sizeof(Entry) + 7 + sizeof(ListHead) <= kNginxEntryHeader + kNginxListHead);
static_assert(sizeof(ListNode) <= kNginxNodeHeader);

struct PageDesc {
  uint32_t next, prev;  // in the list of free runs, or of its size class's pages with room
  uint32_t kind;        // PageKind; of a kPageSlab page also the size class, << 8
  uint32_t run;         // pages in this run, at its first page
  uint32_t map[4];      // used chunks of a kPageSlab page
};

// Only the first and the last page of a run are ever looked at.
enum PageKind : uint32_t {
  kPageInner = 0,
  kPageFree,
  kPageFreeTail,
  kPageRun,
  kPageRunTail,
  kPageSlab
};

// Chunks of 32 … 2048 bytes; more takes whole pages. nginx has 8 and 16 too, but nothing of that
// size is ever stored.
constexpr unsigned kMinShift = 5, kMaxShift = 11;

// Old values of the words that the running step has changed; count 0: no step is running. See
// journal.h.
struct JournalState {
  static constexpr uint32_t kCapacity = 192;
  uint32_t count;
  uint32_t reserved;
  uint64_t words[kCapacity];  // word index << 32 | old value
};

// An operation of several steps that has begun to destroy something: whoever recovers the zone runs
// it again. Key and value lie in the staging area.
struct PendingState {
  enum Kind : uint32_t { kNone, kStore, kFlushAll };
  uint32_t kind;
  uint32_t safe;
  uint32_t type;
  uint32_t user_flags;
  uint32_t key_len;
  uint32_t hash;
  uint64_t value_len;
  uint64_t expires;
  int64_t now;
};

// What the lock of the zone guards, of one region.
struct StripeState {
  Ref newest;
  Ref oldest;
  uint32_t entries;
  uint32_t pushes;     // how often an entry has become the newest
  Ref doomed;          // removed from everything but its memory not yet given back
  uint32_t free_head;  // first free run
  uint32_t free_pages;
  uint32_t with_room[kMaxShift + 1];  // per size class: first page with a free chunk
  alignas(64) PendingState pending;
  alignas(64) JournalState journal;
};

// Where a region lies in the zone's memory, and its parts in the region.
struct Layout {
  uint64_t at, size;
  uint64_t capacity;  // what the user asked for
  uint64_t table_at, buckets_at, pages_at, staging_at;
  uint64_t staging_size;
  uint32_t page_count;
  uint32_t bucket_count;
};

// Counted since the zone was made. A resize keeps them. Hits and misses stand beside the lock.
struct Counters {
  uint64_t evictions;    // live entries that made room for others
  uint64_t expirations;  // expired entries whose memory was given back
};

// Who wants to know of changes: how many subscribers a process has.
struct SubscriberSlot {
  int32_t pid;
  uint32_t count;
};

// The news of changes, for subscribers. `written` and `kept_from` count bytes since the zone was
// made; what stands between them can be read, at those positions modulo kRingSize.
struct ChangeLog {
  static constexpr uint32_t kSlots = 256;
  uint32_t changed;      // a futex: counts up with each piece of news
  uint32_t sleeping;     // somebody may wait for it
  uint32_t subscribers;  // sum of the slots
  uint32_t reserved;
  uint64_t written, kept_from;
  SubscriberSlot slots[kSlots];
};

constexpr uint64_t kRingSize = 64 * 1024;

// Where a thread is while it works without the lock of the zone; see stripe_lanes.cc.
struct alignas(64) Lane {
  RobustLock lock;
  uint32_t reserved;
  uint64_t hits, misses;  // of the threads that came this way
};

struct ZoneHeader {
  static constexpr uint64_t kMagic = 0x3350414d4e4f4f4d;  // "MOONMAP3"
  uint64_t magic;                                         // written last: the memory is ready
  uint64_t seed;                                          // of the key hash
  uint64_t configured;  // the size that the configuration gave; a resize does not change it
  uint32_t exact;
  uint32_t lean;
  uint32_t name_len;  // nginx keeps the name in the zone: its length costs a chunk
  uint32_t reserved;
  uint64_t recoveries;  // after a death inside an operation
  uint64_t resets;  // of those, how often the structure was beyond repair and the zone was emptied
  // The lock of the zone. The region that counts is layouts[generation & 1].
  alignas(64) RobustLock mutex;
  uint32_t generation;
  uint32_t loose;         // the order of use is not exact among the newest; see Stripe::bump
  uint64_t hits, misses;  // these change whenever the lock does: one cache line for all
  uint32_t open;          // the lanes are: whoever has the lock closes them before it does anything
  uint32_t calm;          // operations that a lane would have done, since they were closed
  alignas(64) Counters counters;
  Layout layouts[2];
  ChangeLog log;
  static constexpr unsigned kLanes = 64;
  Lane lanes[kLanes];
};

constexpr size_t align_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Pages that nginx gets out of a zone of `size` bytes: its pool header (200), 9 list heads (24
// each), 9 counters (32 each) and one descriptor (24) per page stand before the first page, which
// is aligned.
constexpr uint64_t nginx_page_count(uint64_t size) {
  constexpr uint64_t kFixed = 200 + 9 * (24 + 32), kPerPage = 24;
  if (size <= kFixed) return 0;
  uint64_t pages = (size - kFixed) / (kPageSize + kPerPage);
  uint64_t start = align_up(kFixed + pages * kPerPage, kPageSize);
  uint64_t room = size > start ? (size - start) / kPageSize : 0;
  return pages < room ? pages : room;
}

// From here on a zone is loose, if the configuration does not say `exact`.
constexpr uint64_t kLooseFrom = uint64_t{4} << 20;

constexpr uint64_t kRingAt = align_up(sizeof(ZoneHeader), kPageSize);
constexpr uint64_t kRegionsAt = kRingAt + kRingSize;

}  // namespace moonphase::shm
