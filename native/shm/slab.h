// The allocator of a zone's pages. It gives out and joins pages and chunks in the order in which
// nginx's does, since users see it: how many entries fit, when "no memory" comes, what free_space
// says after which deletions. The maps of used chunks lie beside the pages; where nginx would keep
// one inside a page, those chunks count as used.
#pragma once

#include "shm/journal.h"

namespace moonphase::shm {

class Slab {
 public:
  Slab() = default;
  Slab(char* base, StripeState* state, PageDesc* table, uint64_t pages_at, uint32_t page_count)
      : base_(base),
        state_(state),
        table_(table),
        pages_at_(pages_at),
        count_(page_count),
        log_(base, &state->journal) {}

  void format();           // all pages free; outside of any journal
  Ref alloc(size_t size);  // 0: no memory, and nothing was changed
  void free(Ref chunk);
  bool owns(Ref chunk) const;  // is the start of a chunk in use
  uint32_t used_chunks() const;
  // Null, or what is wrong with the structure.
  const char* check() const;

 private:
  uint32_t alloc_pages(uint32_t n);
  void free_pages(uint32_t page, uint32_t n);
  void unlink(uint32_t& head, uint32_t page);
  void push(uint32_t& head, uint32_t page);
  const char* check_page(uint32_t page, uint32_t* span, uint32_t* free) const;
  Ref ref(uint32_t page, uint32_t chunk, unsigned shift) const {
    return static_cast<Ref>(
        (pages_at_ + (uint64_t{page} << kPageShift) + (uint64_t{chunk} << shift)) >> kRefShift);
  }

  char* base_ = nullptr;
  StripeState* state_ = nullptr;
  PageDesc* table_ = nullptr;
  uint64_t pages_at_ = 0;
  uint32_t count_ = 0;
  Journal log_;
};

}  // namespace moonphase::shm
