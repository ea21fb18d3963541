// What is done without the lock of a zone, in zones that are loose.
#include <atomic>
#include <thread>

#include "shm_model.h"
#include "shm_random.h"

using namespace shm_test;

namespace {

constexpr int64_t kNow = 1'700'000'000'000;
constexpr uint64_t kLoose = 8 * 1024 * 1024;

bool open(Dict& d) { return __atomic_load_n(&d.header()->open, __ATOMIC_SEQ_CST) != 0; }

// Many of them open the lanes.
void look(Dict& d, int times) {
  for (int i = 0; i < times; i++) get(d, "number", kNow);
}

// What does not tell in which order entries were used.
bool comparable(const Step& s) {
  return s.op == Op::kGet || s.op == Op::kStore || s.op == Op::kDelete || s.op == Op::kIncr ||
         s.op == Op::kPush || s.op == Op::kPop || s.op == Op::kLlen || s.op == Op::kCas ||
         s.op == Op::kSetMulti;
}

bool calm(const Step& s) {
  return s.ttl == 0 && s.flags == 0 &&
         (s.op == Op::kGet || s.op == Op::kIncr ||
          (s.op == Op::kStore && s.value.type == Type::kNumber));
}

}  // namespace

SHM_TEST(lanes_open_and_close) {
  ZoneHandle d(kLoose);
  ZoneHandle exact(ZoneSpec{.name = "exact", .size = kLoose, .exact = true});
  ZoneHandle small(1024 * 1024, "small");
  for (ZoneHandle* z : {&d, &exact, &small}) {
    (*z)->store(kSet, "number", number(1), 0, 0, kNow);
    look(**z, 200);
    CHECK(open(**z) == (z == &d));
  }
  uint64_t hits = d->stats().hits;
  CHECK(hits == 200 && !open(*d));  // stats() wants the lock
  look(*d, 100);
  CHECK_EQ(show(d->incr("number", 0.5, false, 0, 0, kNow)), "0 1.5");
  CHECK_EQ(show(d->store(kSet, "number", number(7), 0, 0, kNow)), "0 -");
  CHECK_EQ(show(d->store(kReplace, "number", number(8), 0, 0, kNow)), "0 -");
  CHECK_EQ(show(d->store(kAdd, "number", number(9), 0, 0, kNow)), "-5 exists");
  CHECK_EQ(show(d->store(kAdd, "number", string("x"), 0, 0, kNow)), "-5 exists");
  CHECK_EQ(get(*d, "number", kNow), "8");
  CHECK_EQ(get(*d, "other", kNow), "nil");
  CHECK(open(*d));
  // All these change more than a number.
  CHECK_EQ(show(d->store(kSet, "number", number(9), 10, 0, kNow)), "0 -");
  CHECK(!open(*d));
  look(*d, 100);
  CHECK(open(*d));
  CHECK_EQ(show(d->store(kSet, "number", number(9), 0, 3, kNow)), "0 -");
  CHECK(!open(*d));
  look(*d, 100);
  CHECK_EQ(show(d->incr("fresh", 1, false, 0, 0, kNow)), "-1 not found");
  CHECK_EQ(show(d->incr("fresh", 1, true, 2, 0, kNow)), "0 3");
  look(*d, 100);
  CHECK_EQ(show(d->push("number", End::kLeft, number(1), kNow)), "-1 value not a list");
  CHECK_EQ(get(*d, "number", kNow), "9 flags=3");
  CHECK(d->check() == nullptr);
}

SHM_TEST(lanes_expiry) {
  ZoneHandle d(kLoose);
  d->store(kSet, "number", number(1), 0, 0, kNow);
  d->store(kSet, "short", number(2), 100, 0, kNow);
  look(*d, 100);
  CHECK_EQ(get(*d, "short", kNow + 99), "2");
  CHECK_EQ(get(*d, "short", kNow + 100), "nil");
  CHECK_EQ(get_stale(*d, "short", kNow + 100), "2 stale");
  CHECK(open(*d));
  CHECK_EQ(show(d->incr("short", 1, true, 10, 0, kNow + 100)), "0 11");
  CHECK_EQ(get(*d, "short", kNow + 200), "11");
  // The oldest goes at the next operation, whichever that is.
  d->set_expire("number", 50, kNow);
  for (int i = 0; i < 100; i++) get(*d, "short", kNow);
  CHECK(open(*d));
  CHECK_EQ(get(*d, "short", kNow + 50), "11");
  CHECK(d->stats().entries == 1);
}

SHM_TEST(lanes_tell_subscribers) {
  ZoneHandle d(kLoose);
  d->store(kSet, "number", number(1), 0, 0, kNow);
  CHECK(d->count_subscriber(1) == nullptr);
  look(*d, 100);
  uint64_t at = d->changes_written();
  look(*d, 100);
  d->incr("number", 1, false, 0, 0, kNow);
  d->store(kSet, "number", number(1), 0, 0, kNow);
  std::string news;
  d->read_changes(
      &at,
      [](void* s, Change, Str key) { *static_cast<std::string*>(s) += std::string(key) + ","; },
      &news);
  CHECK_EQ(news, "number,number,");
  d->count_subscriber(-1);
}

// Who died in a lane holds it no more.
SHM_TEST(lanes_of_the_dead) {
  ZoneHandle d(kLoose);
  d->store(kSet, "number", number(1), 0, 0, kNow);
  look(*d, 100);
  auto* header = const_cast<ZoneHeader*>(d->header());
  for (Lane& lane : header->lanes) lane.lock.word = 0x40000000;  // FUTEX_OWNER_DIED
  CHECK_EQ(show(d->incr("number", 1, false, 0, 0, kNow)), "0 2");
  CHECK(open(*d));
  CHECK_EQ(show(d->store(kSet, "text", string("x"), 0, 0, kNow)), "0 -");
  // All taken: the lock does it.
  look(*d, 100);
  for (Lane& lane : header->lanes) lane.lock.word = 0x3fffffff;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    for (Lane& lane : header->lanes) __atomic_store_n(&lane.lock.word, 0, __ATOMIC_RELEASE);
  });
  CHECK_EQ(show(d->incr("number", 1, false, 0, 0, kNow)), "0 3");
  other.join();
  CHECK(d->check() == nullptr);
}

SHM_TEST(lanes_model) {
  auto steps = static_cast<uint64_t>(300'000 * scale());
  ZoneHandle d(kLoose, "z");
  Model m(kLoose, "z");
  Rng rng{4711};
  uint64_t aside = 0;
  for (uint64_t i = 0; i < steps; i++) {
    Step s = Step::random(rng, 200, 300);
    bool calm_time = i / 2000 % 2 == 1;
    while (calm_time ? !calm(s) : !comparable(s)) s = Step::random(rng, 200, 300);
    if (calm_time) s.key = "k" + std::to_string(rng.below(20));
    int64_t now = kNow + static_cast<int64_t>(i / 100);
    aside += open(*d);
    std::string got = s.run(*d, now), want = s.run(m, now);
    if (got != want) std::fprintf(stderr, "step %llu\n", static_cast<unsigned long long>(i));
    CHECK_EQ(got, want);
  }
  CHECK(aside > steps / 10);
  CHECK(d->check() == nullptr);
}

SHM_TEST(lanes_threads) {
  ZoneHandle d(kLoose);
  auto steps = static_cast<int>(100'000 * scale());
  std::atomic<uint64_t> added{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([&, t] {
      Rng rng{static_cast<uint64_t>(t) * 31337 + 5};
      uint64_t mine = 0;
      for (int i = 0; i < steps; i++) {
        std::string key = "k" + std::to_string(rng.below(8));
        switch (rng.below(200)) {
          case 0:
            d->store(kSet, "text" + key, string(std::string(rng.below(500), 'x')), 0, 0, kNow);
            break;
          case 1:
            d->push("list" + key, End::kLeft, number(i), kNow);
            break;
          case 2:
            pop(*d, "list" + key, End::kRight, kNow);
            break;
          case 3:
            if (rng.below(20) == 0) d->resize(kLoose + 4096 * rng.below(200), kNow);
            break;
          case 4:
            d->stats();
            break;
          default:
            if (rng.below(2) == 0) {
              get(*d, key, kNow);
              d->store(kSet, "same", number(i), 0, 0, kNow);
            } else {
              CHECK(d->incr(key, 1, true, 0, 0, kNow).rc == kOk);
              mine++;
            }
        }
      }
      added += mine;
    });
  }
  for (auto& t : threads) t.join();
  CHECK(d->check() == nullptr);
  double sum = 0;
  for (int i = 0; i < 8; i++) {
    StringSink sink;
    sum += d->get("k" + std::to_string(i), kNow, sink.sink).number;
  }
  CHECK(sum == static_cast<double>(added.load()));
}
