// Memory in the sizes that each request needs again: blocks wait here for the next taker of their
// size, each thread has its own. Other sizes are malloc's.
#pragma once

#include <cstddef>

namespace moonphase {

// Never null (out of memory aborts the process, as Node does).
void* take_block(size_t n);
// `n` as it was taken with; null is nothing.
void put_block(void* p, size_t n);

}  // namespace moonphase
