#include "base/blocks.h"

#include <cstdlib>

namespace moonphase {

namespace {

// Blocks of one size. Not under AddressSanitizer: it should see each death.
struct FreeBlocks {
  size_t size;
  unsigned most;
  void* items[256];
  unsigned count = 0;
  ~FreeBlocks() {
    while (count) std::free(items[--count]);
  }
};

struct AllFreeBlocks {
  // An arena's block, and buffers of 4 and 8 KB that have a block of their own.
  FreeBlocks of_size[3] = {{4096, 256, {}}, {4096 + 16, 128, {}}, {8192 + 16, 64, {}}};
  FreeBlocks* find([[maybe_unused]] size_t n) {
#ifndef __SANITIZE_ADDRESS__
    for (FreeBlocks& b : of_size)
      if (b.size == n) return &b;
#endif
    return nullptr;
  }
};
thread_local AllFreeBlocks t_free;

}  // namespace

void* take_block(size_t n) {
  FreeBlocks* free = t_free.find(n);
  if (free && free->count) return free->items[--free->count];
  void* p = std::malloc(n);
  if (!p) std::abort();
  return p;
}

void put_block(void* p, size_t n) {
  if (!p) return;
  FreeBlocks* free = t_free.find(n);
  if (free && free->count < free->most)
    free->items[free->count++] = p;
  else
    std::free(p);
}

}  // namespace moonphase
