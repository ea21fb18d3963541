// Four processes hammer one zone with every operation; one of them is killed at a random instant,
// again and again. After each kill the structure is sound, the others go on at once, and no
// acknowledged increment is missing.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "shm_random.h"

using namespace shm_test;

namespace {

constexpr int kWorkers = 4;
constexpr int64_t kNow = 1'700'000'000'000;

struct Shared {
  std::atomic<uint64_t>
      acknowledged[kWorkers];            // increments of the worker's counter that have returned
  std::atomic<uint64_t> done[kWorkers];  // operations
};

using Clock = std::chrono::steady_clock;

double since(Clock::time_point t) {
  return std::chrono::duration<double, std::milli>(Clock::now() - t).count();
}

// Milliseconds that a process could have run but was not let.
double run_delay(pid_t pid) {
  unsigned long long ran = 0, delay = 0;
  FILE* f = std::fopen(("/proc/" + std::to_string(pid) + "/schedstat").c_str(), "r");
  if (f == nullptr) return 0;
  if (std::fscanf(f, "%llu %llu", &ran, &delay) != 2) delay = 0;
  std::fclose(f);
  return static_cast<double>(delay) / 1e6;
}

}  // namespace

// Counters live in a zone of their own, where nothing is evicted and flush_all does not reach.
static void hammer(uint64_t size, uint64_t counters_size, int kills) {
#if defined(__SANITIZE_THREAD__)
  return;
#endif
  ZoneHandle d(size, "hammered");
  ZoneHandle counters(counters_size, "counters");
  auto* shared = static_cast<Shared*>(
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  CHECK(shared != MAP_FAILED);
  uint64_t seed = 1;
  pid_t pids[kWorkers];
  auto start = [&](int i) {
    uint64_t s = seed++;
    pids[i] = fork();
    CHECK(pids[i] >= 0);
    if (pids[i] != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    Rng rng{s * 2654435761 + 17};
    std::string counter = "counter" + std::to_string(i);
    for (;;) {
      int64_t now = kNow + static_cast<int64_t>(rng.below(400));
      if (rng.below(300) == 0) {
        // It fails where what is there does not fit.
        d->resize(size + size / 3 * rng.below(3), now);
      } else {
        Step::random(rng, 500, 6000).run(*d, now);
      }
      if (rng.below(100) == 0) counters->store(kSet, "other", string("x"), 0, i, kNow);
      counters->incr("all", 1, true, 0, 0, kNow);
      IncrResult r = counters->incr(counter, 1, true, 0, 0, kNow);
      if (r.rc == kOk) shared->acknowledged[i].fetch_add(1);
      shared->done[i].fetch_add(1);
    }
  };
  for (int i = 0; i < kWorkers; i++) start(i);
  Rng rng{99};
  double worst = 0, slowest = 0;
  auto operations = [&] {
    uint64_t total = 0;
    for (auto& n : shared->done) total += n;
    return total;
  };
  for (int k = 0; k < kills; k++) {
    std::this_thread::sleep_for(std::chrono::microseconds(500 + rng.below(4000)));
    int victim = static_cast<int>(rng.below(kWorkers));
    kill(pids[victim], SIGKILL);
    CHECK(waitpid(pids[victim], nullptr, 0) == pids[victim]);
    auto t0 = Clock::now();
    uint64_t at_death = operations();
    double waited[kWorkers];
    for (int i = 0; i < kWorkers; i++) waited[i] = i == victim ? 0 : run_delay(pids[i]);
    while (operations() == at_death) {
      CHECK(since(t0) < 10'000);
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    // 100 ms without those in which none of the others was given a processor; the kernel counts
    // such a wait when it is over.
    double wall = since(t0), lost = wall;
    for (int i = 0; i < kWorkers; i++)
      if (i != victim) lost = std::min(lost, wall - (run_delay(pids[i]) - waited[i]));
    if (lost >= 100) {
      for (int i = 0; i < kWorkers; i++)
        std::fprintf(stderr, "kill %d: %.1f ms, worker %d%s waited %.1f ms for a processor\n", k,
                     wall, i, i == victim ? " (killed)" : "",
                     i == victim ? 0 : run_delay(pids[i]) - waited[i]);
    }
    CHECK(lost < 100);
    slowest = std::max(slowest, lost);
    t0 = Clock::now();
    const char* wrong = d->check();
    if (wrong != nullptr) std::fprintf(stderr, "kill %d: %s\n", k, wrong);
    CHECK(wrong == nullptr && counters->check() == nullptr);
    worst = std::max(worst, since(t0));
    // The victim may have died between an increment and its acknowledgement.
    StringSink sink;
    std::string counter = "counter" + std::to_string(victim);
    double value = counters->get(counter, kNow, sink.sink).number;
    auto acknowledged = static_cast<double>(shared->acknowledged[victim].load());
    CHECK(value == acknowledged || value == acknowledged + 1);
    shared->acknowledged[victim] = static_cast<uint64_t>(value);
    int other = (victim + 1) % kWorkers;
    uint64_t before = shared->done[other];
    auto deadline = t0 + std::chrono::seconds(5);
    while (shared->done[other] == before) CHECK(Clock::now() < deadline);
    start(victim);
  }
  for (pid_t p : pids) kill(p, SIGKILL);
  for (pid_t p : pids) waitpid(p, nullptr, 0);
  CHECK(d->check() == nullptr);
  uint64_t total = 0;
  for (auto& n : shared->done) total += n;
  std::fprintf(
      stderr,
      "#   %d kills, others went on within %.1f ms, %llu operations, %llu recoveries, %llu resets, "
      "slowest lock and check %.1f ms\n",
      kills, slowest, static_cast<unsigned long long>(total),
      static_cast<unsigned long long>(d->header()->recoveries + counters->header()->recoveries),
      static_cast<unsigned long long>(d->header()->resets + counters->header()->resets), worst);
  CHECK(d->header()->resets == 0 && counters->header()->resets == 0);
  munmap(shared, sizeof(Shared));
}

SHM_TEST(kill_minus_nine) { hammer(300 * 1024, 64 * 1024, static_cast<int>(100 * scale())); }

// Counters are in lanes of their own here.
SHM_TEST(kill_minus_nine_loose) {
  hammer(6 * 1024 * 1024, 8 * 1024 * 1024, static_cast<int>(50 * scale()));
}
