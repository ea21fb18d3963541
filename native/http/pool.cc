#include "http/pool.h"

#include <cstdlib>

namespace moonphase::http {

Pool* Pool::of_thread() {
  static thread_local Pool pool;
  return &pool;
}

Pool::~Pool() {
  while (RequestSlot* s = slots_) {
    slots_ = s->next;
    delete s;
  }
  for (int i = 0; i < 2; ++i)
    while (buffer_count_[i]) std::free(buffers_[i][--buffer_count_[i]]);
}

RequestSlot* Pool::take_slot() {
  if (RequestSlot* s = slots_) {
    slots_ = s->next;
    --slot_count_;
    return s;
  }
  auto* s = new RequestSlot;
  s->pool = this;
  return s;
}

void Pool::recycle_slot(void* slot) {
  auto* s = static_cast<RequestSlot*>(slot);
  Pool* p = s->pool;
  if (p->slot_count_ >= kMostSlots) {
    delete s;
    return;
  }
  s->arena.reset();
  s->next = p->slots_;
  p->slots_ = s;
  ++p->slot_count_;
}

char* Pool::take_buffer(size_t n) {
  int i = kind_of(n);
  if (i >= 0 && buffer_count_[i]) return buffers_[i][--buffer_count_[i]];
  void* p = std::malloc(n);
  if (!p) std::abort();
  return static_cast<char*>(p);
}

void Pool::recycle_buffer(char* p, size_t n) {
  if (!p) return;
  int i = kind_of(n);
  if (i >= 0 && buffer_count_[i] < kMostBuffers)
    buffers_[i][buffer_count_[i]++] = p;
  else
    std::free(p);
}

}  // namespace moonphase::http
