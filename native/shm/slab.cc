#include "shm/slab.h"

#include <bit>
#include <cstring>

namespace moonphase::shm {

namespace {

constexpr unsigned chunks_per_page(unsigned shift) {
  return static_cast<unsigned>(kPageSize >> shift);
}
constexpr unsigned map_words(unsigned shift) { return (chunks_per_page(shift) + 31) / 32; }
// nginx keeps the map of chunks under 64 bytes in the page's first chunk.
constexpr uint32_t reserved_chunks(unsigned shift) { return shift < 6 ? 1 : 0; }
constexpr uint32_t full_word(unsigned shift) {
  return chunks_per_page(shift) >= 32 ? UINT32_MAX : (1u << chunks_per_page(shift)) - 1;
}

unsigned shift_for(size_t size) {
  if (size <= size_t{1} << kMinShift) return kMinShift;
  return static_cast<unsigned>(std::bit_width(size - 1));
}

bool full(const PageDesc& d, unsigned shift) {
  for (unsigned i = 0; i < map_words(shift); i++) {
    if (d.map[i] != full_word(shift)) return false;
  }
  return true;
}

bool unused(const PageDesc& d, unsigned shift) {
  if (d.map[0] != reserved_chunks(shift)) return false;
  for (unsigned i = 1; i < map_words(shift); i++) {
    if (d.map[i] != 0) return false;
  }
  return true;
}

}  // namespace

void Slab::format() {
  std::memset(table_, 0, sizeof(PageDesc) * count_);
  for (uint32_t& head : state_->with_room) head = kNoPage;
  state_->free_pages = count_;
  state_->free_head = count_ > 0 ? 0 : kNoPage;
  if (count_ == 0) return;
  table_[0] = {.next = kNoPage, .prev = kNoPage, .kind = kPageFree, .run = count_, .map = {}};
  if (count_ > 1) {
    table_[count_ - 1].kind = kPageFreeTail;
    table_[count_ - 1].prev = 0;
  }
}

Ref Slab::alloc(size_t size) {
  if (size > kPageSize / 2) {
    size_t n = (size + kPageSize - 1) >> kPageShift;
    if (n > count_) return 0;
    uint32_t page = alloc_pages(static_cast<uint32_t>(n));
    return page == kNoPage ? 0 : ref(page, 0, kPageShift);
  }
  unsigned shift = shift_for(size);
  uint32_t page = state_->with_room[shift];
  if (page == kNoPage) {
    page = alloc_pages(1);
    if (page == kNoPage) return 0;
    PageDesc& d = table_[page];
    log_.put(d.kind, kPageSlab | shift << 8);
    for (unsigned i = 0; i < map_words(shift); i++)
      log_.put(d.map[i], i == 0 ? reserved_chunks(shift) : 0);
    push(state_->with_room[shift], page);
  }
  PageDesc& d = table_[page];
  unsigned i = 0;
  while (d.map[i] == UINT32_MAX) i++;
  auto bit = static_cast<unsigned>(std::countr_one(d.map[i]));
  log_.put(d.map[i], d.map[i] | 1u << bit);
  if (d.map[i] == full_word(shift) && full(d, shift)) unlink(state_->with_room[shift], page);
  return ref(page, i * 32 + bit, shift);
}

void Slab::free(Ref chunk) {
  uint64_t at = (uint64_t{chunk} << kRefShift) - pages_at_;
  auto page = static_cast<uint32_t>(at >> kPageShift);
  PageDesc& d = table_[page];
  if (d.kind == kPageRun) {
    free_pages(page, d.run);
    return;
  }
  unsigned shift = d.kind >> 8;
  unsigned index = static_cast<unsigned>((at & (kPageSize - 1)) >> shift);
  if (full(d, shift)) push(state_->with_room[shift], page);
  log_.put(d.map[index / 32], d.map[index / 32] & ~(1u << index % 32));
  if (unused(d, shift)) {
    unlink(state_->with_room[shift], page);
    free_pages(page, 1);
  }
}

// First fit; what remains of a longer run keeps the run's place in the list.
uint32_t Slab::alloc_pages(uint32_t n) {
  uint32_t page = state_->free_head;
  while (page != kNoPage && table_[page].run < n) page = table_[page].next;
  if (page == kNoPage) return kNoPage;
  PageDesc& d = table_[page];
  if (d.run == n) {
    unlink(state_->free_head, page);
  } else {
    uint32_t rest = page + n, left = d.run - n;
    PageDesc& r = table_[rest];
    log_.put(r.kind, kPageFree);
    log_.put(r.run, left);
    log_.put(r.next, d.next);
    log_.put(r.prev, d.prev);
    if (d.next != kNoPage) log_.put(table_[d.next].prev, rest);
    log_.put(d.prev == kNoPage ? state_->free_head : table_[d.prev].next, rest);
    if (left > 1) log_.put(table_[rest + left - 1].prev, rest);
  }
  log_.put(d.kind, kPageRun);
  log_.put(d.run, n);
  if (n > 1) log_.put(table_[page + n - 1].kind, kPageRunTail);
  log_.put(state_->free_pages, state_->free_pages - n);
  return page;
}

// Joins with the free runs on both sides; the result goes to the head of the list.
void Slab::free_pages(uint32_t page, uint32_t n) {
  log_.put(state_->free_pages, state_->free_pages + n);
  uint32_t next = page + n;
  if (next < count_ && table_[next].kind == kPageFree) {
    n += table_[next].run;
    unlink(state_->free_head, next);
    log_.put(table_[next].kind, kPageInner);
  }
  if (page > 0) {
    uint32_t before = page - 1;
    if (table_[before].kind == kPageFreeTail) before = table_[before].prev;
    if (table_[before].kind == kPageFree) {
      n += table_[before].run;
      unlink(state_->free_head, before);
      log_.put(table_[page].kind, kPageInner);
      page = before;
    }
  }
  log_.put(table_[page].kind, kPageFree);
  log_.put(table_[page].run, n);
  if (n > 1) {
    log_.put(table_[page + n - 1].kind, kPageFreeTail);
    log_.put(table_[page + n - 1].prev, page);
  }
  push(state_->free_head, page);
}

void Slab::unlink(uint32_t& head, uint32_t page) {
  PageDesc& d = table_[page];
  if (d.next != kNoPage) log_.put(table_[d.next].prev, d.prev);
  log_.put(d.prev == kNoPage ? head : table_[d.prev].next, d.next);
}

void Slab::push(uint32_t& head, uint32_t page) {
  log_.put(table_[page].prev, kNoPage);
  log_.put(table_[page].next, head);
  if (head != kNoPage) log_.put(table_[head].prev, page);
  log_.put(head, page);
}

bool Slab::owns(Ref chunk) const {
  uint64_t at = uint64_t{chunk} << kRefShift;
  if (at < pages_at_ || at >= pages_at_ + (uint64_t{count_} << kPageShift)) return false;
  at -= pages_at_;
  const PageDesc& d = table_[at >> kPageShift];
  uint64_t inside = at & (kPageSize - 1);
  if (d.kind == kPageRun) return inside == 0;
  if ((d.kind & 0xff) != kPageSlab) return false;
  unsigned shift = d.kind >> 8;
  if (shift < kMinShift || shift > kMaxShift || (inside & ((uint64_t{1} << shift) - 1)) != 0)
    return false;
  auto index = static_cast<unsigned>(inside >> shift);
  return index >= reserved_chunks(shift) && (d.map[index / 32] >> index % 32 & 1) != 0;
}

uint32_t Slab::used_chunks() const {
  uint32_t used = 0;
  for (uint32_t page = 0; page < count_;) {
    const PageDesc& d = table_[page];
    if (d.kind == kPageRun) used++;
    if ((d.kind & 0xff) != kPageSlab) {
      page += d.run;
      continue;
    }
    unsigned shift = d.kind >> 8;
    for (unsigned i = 0; i < map_words(shift); i++)
      used += static_cast<uint32_t>(std::popcount(d.map[i]));
    used -= reserved_chunks(shift);
    page++;
  }
  return used;
}

const char* Slab::check() const {
  uint32_t free = 0, free_runs = 0, roomy[kMaxShift + 1] = {};
  bool after_free = false;
  for (uint32_t page = 0; page < count_;) {
    uint32_t span = 0, here = 0;
    if (const char* wrong = check_page(page, &span, &here)) return wrong;
    if (here > 0 && after_free) return "two free runs are not joined";
    after_free = here > 0;
    free += here;
    free_runs += here > 0;
    const PageDesc& d = table_[page];
    if ((d.kind & 0xff) == kPageSlab && !full(d, d.kind >> 8)) roomy[d.kind >> 8]++;
    page += span;
  }
  if (free != state_->free_pages) return "free page count is wrong";
  auto list = [&](uint32_t head, uint32_t expect, uint32_t kind) {
    uint32_t prev = kNoPage, n = 0;
    for (uint32_t p = head; p != kNoPage; prev = p, p = table_[p].next) {
      if (p >= count_ || n++ == expect || table_[p].prev != prev || table_[p].kind != kind)
        return false;
      if ((kind & 0xff) == kPageSlab && full(table_[p], kind >> 8)) return false;
    }
    return n == expect;
  };
  if (!list(state_->free_head, free_runs, kPageFree)) return "list of free runs is broken";
  for (unsigned s = kMinShift; s <= kMaxShift; s++) {
    if (!list(state_->with_room[s], roomy[s], kPageSlab | s << 8))
      return "list of a size class is broken";
  }
  return nullptr;
}

const char* Slab::check_page(uint32_t page, uint32_t* span, uint32_t* free) const {
  const PageDesc& d = table_[page];
  if ((d.kind & 0xff) == kPageSlab) {
    unsigned shift = d.kind >> 8;
    if (shift < kMinShift || shift > kMaxShift) return "page of an unknown size class";
    if (unused(d, shift)) return "empty page was not freed";
    if ((d.map[0] & reserved_chunks(shift)) != reserved_chunks(shift))
      return "reserved chunk is free";
    if ((d.map[0] & ~full_word(shift)) != 0) return "map has chunks that do not exist";
    *span = 1;
    return nullptr;
  }
  if (d.kind != kPageFree && d.kind != kPageRun) return "page of an unknown kind";
  if (d.run == 0 || d.run > count_ - page) return "run of a wrong length";
  if (d.run > 1) {
    const PageDesc& last = table_[page + d.run - 1];
    if (d.kind == kPageFree && (last.kind != kPageFreeTail || last.prev != page))
      return "free run without its end";
    if (d.kind == kPageRun && last.kind != kPageRunTail) return "run without its end";
  }
  *span = d.run;
  if (d.kind == kPageFree) *free = d.run;
  return nullptr;
}

}  // namespace moonphase::shm
