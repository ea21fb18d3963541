// A region: where the parts of a zone of a given size lie.
#pragma once

#include <bit>

#include "shm/layout.h"

namespace moonphase::shm {

constexpr uint64_t kLeanStaging = 1024 * 1024;
// No entry takes less than a chunk of 128 bytes.
constexpr uint64_t kEntriesPerPage = kPageSize / 128;

// `at` is left 0; `size` is 0 if a zone cannot be so large.
inline Layout plan_region(uint64_t capacity, bool lean) {
  Layout l{};
  uint64_t pages = nginx_page_count(capacity);
  if (pages > (kMaxMapped >> kPageShift)) return l;
  uint64_t buckets = std::bit_ceil(pages * kEntriesPerPage + 1);
  uint64_t room = pages * kPageSize;
  l.capacity = capacity;
  l.page_count = static_cast<uint32_t>(pages);
  l.bucket_count = static_cast<uint32_t>(buckets);
  l.table_at = align_up(sizeof(StripeState), 64);
  l.buckets_at = align_up(l.table_at + pages * sizeof(PageDesc), 64);
  l.pages_at = align_up(l.buckets_at + buckets * sizeof(Ref), kPageSize);
  l.staging_at = l.pages_at + room;
  l.staging_size =
      align_up(kMaxKey + 1 + (lean && room > kLeanStaging ? kLeanStaging : room), kPageSize);
  l.size = l.staging_at + l.staging_size;
  // The staging area is never journalled, but everything before it is.
  if (l.staging_at > kMaxMapped) l.size = 0;
  return l;
}

}  // namespace moonphase::shm
