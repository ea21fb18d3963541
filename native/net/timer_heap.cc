#include "net/timer_heap.h"

namespace moonphase::net {

void TimerHeap::insert(Timer* t) {
  items_.push_back(t);
  t->slot = static_cast<int32_t>(items_.size() - 1);
  up(items_.size() - 1);
}

void TimerHeap::remove(Timer* t) {
  auto i = static_cast<size_t>(t->slot);
  t->slot = -1;
  Timer* last = items_.back();
  items_.pop_back();
  if (last == t) return;
  put(i, last);
  up(i);
  down(static_cast<size_t>(last->slot));
}

void TimerHeap::up(size_t i) {
  Timer* t = items_[i];
  while (i) {
    size_t parent = (i - 1) / 4;
    if (!before(t, items_[parent])) break;
    put(i, items_[parent]);
    i = parent;
  }
  put(i, t);
}

void TimerHeap::down(size_t i) {
  Timer* t = items_[i];
  for (;;) {
    size_t child = i * 4 + 1;
    if (child >= items_.size()) break;
    size_t best = child;
    for (size_t k = child + 1; k < child + 4 && k < items_.size(); ++k)
      if (before(items_[k], items_[best])) best = k;
    if (!before(items_[best], t)) break;
    put(i, items_[best]);
    i = best;
  }
  put(i, t);
}

}  // namespace moonphase::net
