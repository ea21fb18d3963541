// What OpenResty's dictionaries have not: compare and swap, several keys at once, resizing,
// counters, news of changes.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "shm/watch.h"
#include "shm_random.h"

using namespace shm_test;

namespace {

constexpr int64_t kNow = 1'700'000'000'000;

std::string cas(Dict& d, Str key, const Value& old, const Value& value, int64_t now = kNow) {
  return show(d.cas(key, old, value, 0, 0, now));
}

// What a watch has been told, as "change key,…".
class News {
 public:
  explicit News(Zone* zone)
      : watch_(
            zone, [](void* n) { static_cast<News*>(n)->woken_++; }, this) {
    CHECK(watch_.start() == nullptr);
  }
  std::string take() {
    std::string all;
    watch_.read(
        [](void* owner, Change change, Str key) {
          static constexpr const char* kNames[] = {"", "set", "delete", "flush", "lost"};
          auto& text = *static_cast<std::string*>(owner);
          text += kNames[static_cast<int>(change)];
          if (!key.empty()) text += " " + std::string(key);
          text += ",";
        },
        &all);
    return all;
  }
  // Waits for a wake-up, not for time.
  void wait(int count) {
    auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (woken_ < count) {
      CHECK(std::chrono::steady_clock::now() < end);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

 private:
  std::atomic<int> woken_{0};
  Watch watch_;
};

}  // namespace

SHM_TEST(more_cas) {
  ZoneHandle d(64 * 1024);
  CHECK_EQ(cas(*d, "k", number(1), number(2)), "-5 changed");
  CHECK_EQ(cas(*d, "k", nil(), string("a")), "0 -");
  CHECK_EQ(cas(*d, "k", nil(), string("b")), "-5 changed");
  CHECK_EQ(cas(*d, "k", string("x"), string("b")), "-5 changed");
  CHECK_EQ(cas(*d, "k", string("a"), number(3)), "0 -");
  CHECK_EQ(cas(*d, "k", string("3"), number(4)), "-5 changed");
  CHECK_EQ(cas(*d, "k", number(3), nil()), "0 -");
  CHECK_EQ(get(*d, "k", kNow), "nil");
  d->store(kSet, "k", boolean(true), 10, 0, kNow);
  CHECK_EQ(cas(*d, "k", boolean(true), boolean(false), kNow + 20), "-5 changed");
  CHECK_EQ(cas(*d, "k", nil(), number(5), kNow + 20), "0 -");
  CHECK(d->check() == nullptr);
}

SHM_TEST(more_several_keys) {
  ZoneHandle d(64 * 1024);
  Item items[] = {{"a", number(1)}, {"b", string("two")}, {"c", boolean(true)}};
  size_t stored = 0;
  CHECK_EQ(show(d->set_multi(items, 0, 7, kNow, &stored)), "0 -");
  CHECK(stored == 3);
  Str keys[] = {"b", "none", "a"};
  GetResult results[3];
  StringSink sink;
  d->get_multi(keys, kNow, sink.sink, results);
  CHECK_EQ(show(results[0]), "'two' flags=7");
  CHECK_EQ(show(results[1]), "nil");
  CHECK_EQ(show(results[2]), "1 flags=7");
  std::string large(70'000, 'x');
  Item some[] = {{"a", number(2)}, {"b", string(large)}, {"c", number(3)}};
  CHECK_EQ(show(d->set_multi(some, 0, 0, kNow, &stored)).substr(0, 12), "-1 no memory");
  CHECK(stored == 1);
}

SHM_TEST(more_stats) {
  ZoneHandle d(16 * 1024);
  get(*d, "none", kNow);
  d->store(kSet, "k", number(1), 5, 0, kNow);
  get(*d, "k", kNow);
  get(*d, "k", kNow + 10);
  Stats s = d->stats();
  CHECK(s.hits == 1 && s.misses == 2 && s.expirations == 1 && s.entries == 0 && s.evictions == 0);
  for (int i = 0; i < 200; i++) d->store(kSet, "k" + std::to_string(i), number(i), 0, 0, kNow);
  s = d->stats();
  CHECK(s.evictions > 0 && s.entries + s.evictions == 200 && s.capacity == 16 * 1024);
  CHECK(s.bytes + s.free_space == nginx_page_count(16 * 1024) * kPageSize);
}

SHM_TEST(more_resize) {
  ZoneHandle d(64 * 1024);
  Rng rng{4711};
  for (int i = 0; i < 3000; i++) Step::random(rng, 300, 2000).run(*d, kNow);
  auto dump = [&] {
    std::string all;
    std::vector<std::string> names;
    d->keys(
        0, kNow, [](void* o, Str k) { static_cast<std::vector<std::string>*>(o)->emplace_back(k); },
        &names);
    for (auto& k : names) {
      int64_t ttl = 0;
      d->ttl(k, kNow, &ttl);
      PushResult n = d->llen(k, kNow);
      all += k + "=" + (n.rc == kOk ? "list " + std::to_string(n.length) : get(*d, k, kNow)) + "/" +
             std::to_string(ttl) + "\n";
    }
    return all;
  };
  dump();
  std::string before = dump();
  for (uint64_t kb : {1024, 200, 5000, 100, 64}) {
    const char* error = d->resize(kb * 1024, kNow);
    if (error != nullptr) std::fprintf(stderr, "%llu kB: %s\n", (unsigned long long)kb, error);
    CHECK(error == nullptr || kb <= 100);
    CHECK(d->check() == nullptr);
    CHECK(error != nullptr || d->capacity() == kb * 1024);
    CHECK_EQ(dump(), before);
  }
  CHECK_EQ(d->resize(8192, kNow), "no memory");
  CHECK_EQ(dump(), before);
  CHECK(d->configured() == 64 * 1024);
  // It holds what its new size says.
  CHECK(d->resize(2 << 20, kNow) == nullptr);
  CHECK_EQ(show(d->store(kSafe, "large", string(std::string(1 << 20, 'x')), 0, 0, kNow)), "0 -");
}

SHM_TEST(more_resize_seen_by_others) {
  ZoneHandle d(64 * 1024, "grows");
  int there[2], back[2];
  CHECK(pipe(there) == 0 && pipe(back) == 0);
  pid_t pid = fork();
  CHECK(pid >= 0);
  char c = 0;
  if (pid == 0) {
    // Its own mapping is of the first size.
    ZoneHandle mine(
        ZoneSpec{.name = "theirs", .size = 64 * 1024, .exact = false, .fd = d.zone->segment.fd()});
    mine->store(kSet, "from", string("child"), 0, 0, kNow);
    CHECK(write(back[1], "1", 1) == 1 && read(there[0], &c, 1) == 1);
    CHECK_EQ(get(*mine, "k", kNow), "1");
    CHECK(mine->capacity() == 400 * 1024);
    mine->store(kSet, "k", number(2), 0, 0, kNow);
    CHECK(mine->resize(100 * 1024, kNow) == nullptr);
    _exit(0);
  }
  CHECK(read(back[0], &c, 1) == 1);
  d->store(kSet, "k", number(1), 0, 0, kNow);
  CHECK(d->resize(200 * 1024, kNow) == nullptr && d->resize(400 * 1024, kNow) == nullptr);
  CHECK(write(there[1], "1", 1) == 1);
  int status = 0;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
  CHECK_EQ(get(*d, "k", kNow), "2");
  CHECK_EQ(get(*d, "from", kNow), "'child'");
  CHECK(d->capacity() == 100 * 1024 && d->check() == nullptr);
  // One that comes now finds the new size, and the configuration's.
  ZoneHandle late(
      ZoneSpec{.name = "late", .size = 64 * 1024, .exact = false, .fd = d.zone->segment.fd()});
  CHECK_EQ(get(*late, "k", kNow), "2");
  for (int fd : {there[0], there[1], back[0], back[1]}) close(fd);
}

SHM_TEST(more_changes) {
  ZoneHandle d(64 * 1024);
  d->store(kSet, "before", number(1), 0, 0, kNow);
  {
    News news(d.zone), other(d.zone);
    d->store(kSet, "a", number(1), 0, 0, kNow);
    d->store(kAdd, "a", number(2), 0, 0, kNow);
    d->store(kSet, "a", {}, 0, 0, kNow);
    d->store(kSet, "a", {}, 0, 0, kNow);
    d->incr("n", 1, true, 0, 0, kNow);
    d->push("l", End::kLeft, number(1), kNow);
    pop(*d, "l", End::kLeft, kNow);
    get(*d, "n", kNow);
    d->flush_all(kNow);
    news.wait(1);
    CHECK_EQ(news.take(), "set a,delete a,set n,set l,delete l,flush,");
    CHECK_EQ(news.take(), "");
    for (int i = 0; i < 20'000; i++) d->store(kSet, "k", number(i), 0, 0, kNow);
    std::string late = other.take();
    CHECK_EQ(late.substr(0, 11), "lost,set k,");
    CHECK(late.size() < 6 * 6000);
    d->store(kSet, std::string(20'000, 'k'), number(1), 0, 0, kNow);
    other.take();
    d->store(kSet, "k", number(1), 0, 0, kNow);
    CHECK_EQ(other.take(), "set k,");
  }
  uint64_t written = d->changes_written();
  d->store(kSet, "a", number(1), 0, 0, kNow);
  CHECK(d->changes_written() == written);
}

SHM_TEST(more_changes_of_others) {
  ZoneHandle d(64 * 1024);
  News news(d.zone);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    d->store(kSet, "theirs", number(1), 0, 0, kNow);
    _exit(0);
  }
  waitpid(pid, nullptr, 0);
  news.wait(1);
  CHECK_EQ(news.take(), "set theirs,");
  // Who is killed does not count any more when the next one comes.
  pid = fork();
  if (pid == 0) {
    d->count_subscriber(1);
    kill(getpid(), SIGKILL);
  }
  waitpid(pid, nullptr, 0);
  CHECK(d->change_log()->subscribers == 2);
  { News next(d.zone); }
  CHECK(d->change_log()->subscribers == 1);
}

SHM_TEST(threads_resize_and_changes) {
  ZoneHandle d(256 * 1024);
  auto steps = static_cast<int>(4000 * scale());
  std::atomic<int> running{3};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; t++) {
    threads.emplace_back([&, t] {
      Rng rng{static_cast<uint64_t>(t) * 977 + 3};
      for (int i = 0; i < steps; i++) {
        Step::random(rng, 300, 3000).run(*d, kNow + i / 50);
        d->incr("counter" + std::to_string(t), 1, true, 0, 0, kNow);
        if (i % 100 == 0) d->resize((256 + 64 * rng.below(3)) * 1024, kNow);
      }
      running--;
    });
  }
  threads.emplace_back([&] {
    while (running > 0) {
      News news(d.zone);
      for (int i = 0; i < 20 && running > 0; i++) {
        news.take();
        std::this_thread::yield();
      }
    }
  });
  for (auto& t : threads) t.join();
  CHECK(d->check() == nullptr);
}
