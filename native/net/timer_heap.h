// The loop's timers, earliest first: a heap of four children per node that keeps each timer's place
// in it.
#pragma once

#include <vector>

#include "net/loop.h"

namespace moonphase::net {

class TimerHeap {
 public:
  bool empty() const { return items_.empty(); }
  Timer* first() const { return items_.empty() ? nullptr : items_[0]; }
  void insert(Timer* t);
  void remove(Timer* t);

 private:
  static bool before(const Timer* a, const Timer* b) {
    return a->due != b->due ? a->due < b->due : a->order < b->order;
  }
  void put(size_t i, Timer* t) {
    items_[i] = t;
    t->slot = static_cast<int32_t>(i);
  }
  void up(size_t i);
  void down(size_t i);
  std::vector<Timer*> items_;
};

}  // namespace moonphase::net
