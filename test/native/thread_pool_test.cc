// ThreadPool: every task runs once, in order with one thread, side by side with more; a full queue
// refuses; the end waits.
#include "base/thread_pool.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>

using moonphase::ThreadPool;

namespace {

int failures = 0;

void expect(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "%s\n", what);
  ++failures;
}

struct Count {
  std::atomic<int> ran{0}, last{-1}, together{0}, most{0};
  bool in_order = true;
};
struct Job {
  ThreadPool::Task task;
  Count* count;
  int number, ms;
};

void run(void* data) {
  auto* job = static_cast<Job*>(data);
  int now = ++job->count->together;
  int most = job->count->most;
  while (now > most && !job->count->most.compare_exchange_weak(most, now)) {
  }
  if (job->count->last.exchange(job->number) > job->number) job->count->in_order = false;
  std::this_thread::sleep_for(std::chrono::milliseconds(job->ms));
  --job->count->together;
  ++job->count->ran;
}

std::unique_ptr<Job[]> jobs(Count* count, int n, int ms) {
  auto list = std::make_unique<Job[]>(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i)
    list[static_cast<size_t>(i)] = {{run, &list[static_cast<size_t>(i)]}, count, i, ms};
  return list;
}

}  // namespace

int main() {
  {
    Count count;
    auto list = jobs(&count, 1000, 0);
    {
      ThreadPool pool(1, 1000);
      for (int i = 0; i < 1000; ++i) expect(pool.post(&list[i].task), "refused");
    }
    expect(count.ran == 1000, "one thread: not all have run");
    expect(count.in_order && count.most == 1, "one thread: not one after the other");
  }
  {
    Count count;
    auto list = jobs(&count, 8, 50);
    {
      ThreadPool pool(4, 8);
      for (int i = 0; i < 8; ++i) expect(pool.post(&list[i].task), "refused");
    }
    expect(count.ran == 8, "four threads: not all have run");
    expect(count.most > 1 && count.most <= 4, "four threads: not side by side");
  }
  {
    Count count;
    auto list = jobs(&count, 4, 100);
    ThreadPool pool(1, 2);
    expect(pool.post(&list[0].task), "refused");
    while (count.together == 0) std::this_thread::yield();
    expect(pool.post(&list[1].task) && pool.post(&list[2].task), "refused");
    expect(!pool.post(&list[3].task) && pool.waiting() == 2, "a full queue takes more");
  }
  if (failures) return EXIT_FAILURE;
  std::puts("ok");
  return EXIT_SUCCESS;
}
