// Memory of requests and connections, used again.
#pragma once

#include "base/arena.h"
#include "http/request.h"

namespace moonphase::http {

// A request and its arena, reused from a free list. The arena's first block comes with it.
struct RequestSlot {
  Arena arena{4096};
  alignas(Request) unsigned char memory[sizeof(Request)];
  RequestSlot* next = nullptr;
  class Pool* pool = nullptr;
};

constexpr size_t kReadBuffer = 8192;    // first size of a read buffer; idle connections have none
constexpr size_t kWriteBuffer = 32768;  // answers to pipelined requests, gathered

// Slots and buffers of a thread that nobody uses. Connections keep a pointer to it: looking up
// thread-local storage from inside a shared object is a call. Not under AddressSanitizer: it should
// see each death.
class Pool {
 public:
  static Pool* of_thread();
  ~Pool();
  RequestSlot* take_slot();
  static void recycle_slot(void* slot);
  char* take_buffer(size_t n);
  void recycle_buffer(char* p, size_t n);

 private:
#ifdef __SANITIZE_ADDRESS__
  static constexpr unsigned kMostSlots = 0, kMostBuffers = 0;
#else
  static constexpr unsigned kMostSlots = 256, kMostBuffers = 64;
#endif
  static int kind_of(size_t n) { return n == kReadBuffer ? 0 : n == kWriteBuffer ? 1 : -1; }
  RequestSlot* slots_ = nullptr;
  unsigned slot_count_ = 0;
  char* buffers_[2][kMostBuffers + 1];
  unsigned buffer_count_[2] = {};
};

}  // namespace moonphase::http
