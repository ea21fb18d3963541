// Output and body data: chains of buffers, in memory or in a file, with nginx's flags.
#pragma once

#include <sys/types.h>

#include "base/arena.h"

namespace moonphase {

// An open file that buffers refer to; the arena that made it closes it.
struct File {
  int fd = -1;
  Str name;
  off_t offset = 0;
  Arena::Cleanup* cleanup = nullptr;  // closes it, and deletes it if that was asked for
  // Now, instead of with the arena.
  void drop() {
    if (!cleanup || !cleanup->fn) return;
    cleanup->fn(cleanup->data);
    cleanup->fn = nullptr;
    fd = -1;
  }
};

struct Buf {
  char* pos = nullptr;  // the unsent part is [pos, last)
  char* last = nullptr;
  char* start = nullptr;  // the memory behind it, when it may be reused
  char* end = nullptr;
  File* file = nullptr;
  off_t file_pos = 0;
  off_t file_last = 0;
  const void* tag = nullptr;   // who may recycle it
  bool memory : 1 = false;     // read-only bytes
  bool temporary : 1 = false;  // writable bytes
  bool in_file : 1 = false;
  bool flush : 1 = false;
  bool sync : 1 = false;
  bool last_buf : 1 = false;       // the response ends here
  bool last_in_chain : 1 = false;  // the (sub)request's output ends here
  bool recycled : 1 = false;

  bool in_memory() const { return memory || temporary; }
  off_t size() const { return in_memory() ? last - pos : file_last - file_pos; }
  // Carries no data, only a flag.
  bool special() const { return (flush || last_buf || sync) && !in_memory() && !in_file; }
  Str bytes() const { return {pos, static_cast<size_t>(last - pos)}; }
};

struct Chain {
  Buf* buf = nullptr;
  Chain* next = nullptr;
};

inline Buf* make_buf(Arena& a) { return a.make<Buf>(); }
inline Chain* make_chain(Arena& a, Buf* b, Chain* next = nullptr) { return a.make<Chain>(b, next); }
// A buffer over bytes that stay where they are.
inline Buf* buf_of(Arena& a, Str s) {
  Buf* b = make_buf(a);
  b->pos = b->start = const_cast<char*>(s.data());
  b->last = b->end = b->pos + s.size();
  b->memory = true;
  return b;
}
off_t chain_size(const Chain* c);
// Appends new links to the same buffers.
void chain_add_copy(Arena& a, Chain** chain, const Chain* in);

}  // namespace moonphase
