// Threads of one process on one zone: for ThreadSanitizer, and that no acknowledged increment is
// lost.
#include <thread>

#include "shm_random.h"

using namespace shm_test;

namespace {
constexpr int64_t kNow = 1'700'000'000'000;
}

SHM_TEST(threads_random) {
  ZoneHandle d(256 * 1024);
  auto steps = static_cast<int>(20'000 * scale());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([&, t] {
      Rng rng{static_cast<uint64_t>(t) * 31337 + 5};
      for (int i = 0; i < steps; i++) Step::random(rng, 300, 3000).run(*d, kNow + i / 50);
    });
  }
  for (auto& t : threads) t.join();
  CHECK(d->check() == nullptr);
}

SHM_TEST(threads_counters) {
  ZoneHandle d(256 * 1024);
  auto steps = static_cast<int>(20'000 * scale());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < steps; i++) {
        d->incr("all", 1, true, 0, 0, kNow);
        d->incr("own" + std::to_string(t), 1, true, 0, 0, kNow);
      }
    });
  }
  for (auto& t : threads) t.join();
  CHECK_EQ(get(*d, "all", kNow), std::to_string(4 * steps));
  CHECK_EQ(get(*d, "own2", kNow), std::to_string(steps));
}

SHM_TEST(threads_registry) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([t] {
      for (int i = 0; i < 200; i++) {
        ZoneHandle d(64 * 1024, "n" + std::to_string((i + t) % 3));
        d->incr("x", 1, true, 0, 0, kNow);
      }
    });
  }
  for (auto& t : threads) t.join();
}
