// The timer heap against a sorted list.
#include <algorithm>
#include <random>
#include <vector>

#include "http_check.h"
#include "net/timer_heap.h"

using moonphase::net::Timer;
using moonphase::net::TimerHeap;

int main() {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    TimerHeap heap;
    std::vector<Timer> timers(200);
    std::vector<Timer*> in;
    uint64_t order = 0;
    for (int step = 0; step < 3000; ++step) {
      Timer* t = &timers[random() % timers.size()];
      if (t->set()) {
        heap.remove(t);
        in.erase(std::find(in.begin(), in.end(), t));
        check(!t->set(), "removed");
      } else {
        t->due = random() % 50;
        t->order = ++order;
        heap.insert(t);
        in.push_back(t);
      }
      auto least = std::min_element(in.begin(), in.end(), [](Timer* a, Timer* b) {
        return a->due != b->due ? a->due < b->due : a->order < b->order;
      });
      check(in.empty() ? heap.first() == nullptr : heap.first() == *least, "the first one");
      if (g_failures) return 1;
    }
  }
  return g_failures != 0;
}
