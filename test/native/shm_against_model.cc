// Random operations, the dictionary against the model: same answers, same memory, same order.
#include "shm_model.h"
#include "shm_random.h"

using namespace shm_test;

namespace {

void compare(uint64_t size, uint32_t keys_used, uint32_t largest, uint64_t seed, uint64_t steps) {
  std::string name = "z" + std::to_string(seed);
  ZoneHandle d(ZoneSpec{.name = name, .size = size, .exact = true});
  Model m(size, name);
  Rng rng{seed * 7919 + 1};
  int64_t now = 1'700'000'000'000;
  CHECK(d->free_space() == m.free_space());
  for (uint64_t i = 0; i < steps; i++) {
    now += rng.below(8) == 0 ? rng.below(10) : 0;
    Step s = Step::random(rng, keys_used, largest);
    std::string got = s.run(*d, now), want = s.run(m, now);
    if (got != want || d->free_space() != m.free_space() || d->entries() != m.entries()) {
      std::fprintf(stderr,
                   "zone of %llu, seed %llu, step %llu, operation %d on %s: got %s (%llu free), "
                   "want %s (%llu)\n",
                   static_cast<unsigned long long>(size), static_cast<unsigned long long>(seed),
                   static_cast<unsigned long long>(i), static_cast<int>(s.op), s.key.c_str(),
                   got.c_str(), static_cast<unsigned long long>(d->free_space()), want.c_str(),
                   static_cast<unsigned long long>(m.free_space()));
      std::abort();
    }
    if (i % 2048 == 0 || i + 1 == steps) {
      const char* wrong = d->check();
      if (wrong != nullptr)
        std::fprintf(stderr, "step %llu: %s\n", static_cast<unsigned long long>(i), wrong);
      CHECK(wrong == nullptr);
      CHECK_EQ(keys(*d, 0, now), m.keys(0, now));
    }
  }
}

}  // namespace

SHM_TEST(model_small_zones) {
  auto steps = static_cast<uint64_t>(60'000 * scale());
  uint64_t seed = 1;
  for (uint64_t size : {8192, 12288, 16384, 20480, 20000, 65536, 100 * 1024}) {
    compare(size, 60, 3000, seed++, steps);
    compare(size, 400, 9000, seed++, steps);
  }
}

SHM_TEST(model_large_zone) {
  auto steps = static_cast<uint64_t>(200'000 * scale());
  compare(900 * 1024, 20'000, 40'000, 77, steps);
  compare(5 * 1024 * 1024, 50'000, 10'000, 78, steps);
}
