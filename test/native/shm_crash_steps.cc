// Death at every instruction: an operation runs in a child, one machine instruction at a time.
// After each that changed the zone, a copy of it is recovered as if the child had been killed
// there. Its structure must then be sound, and every key must be as it was before the operation or
// as the operation leaves it.
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <memory>

#include "shm/mutex.h"
#include "shm_random.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

using namespace shm_test;

namespace {

constexpr int64_t kNow = 1'700'000'000'000;
const std::string kNone = "(none)";
const std::string kDead = " (expired)";

// A private copy of a zone's memory at one moment.
class Copy {
 public:
  Copy(const char* base, size_t size)
      : bytes_(static_cast<char*>(std::aligned_alloc(4096, size))), size_(size) {
    std::memcpy(bytes_.get(), base, size);
    reinterpret_cast<ZoneHeader*>(bytes_.get())->mutex = {};
    CHECK(Dict::open(bytes_.get(), size, -1, &dict_));
  }
  Dict& operator*() { return dict_; }
  Dict* operator->() { return &dict_; }
  const char* bytes() const { return bytes_.get(); }

  // Every key with all that can be asked about it. Empties the lists.
  std::map<std::string, std::string> dump(int64_t now) {
    std::vector<std::string> names;
    dict_.keys(
        0, 0, [](void* o, Str k) { static_cast<std::vector<std::string>*>(o)->emplace_back(k); },
        &names);
    std::map<std::string, std::string> all;
    for (auto& k : names) {
      int64_t expires = 0;
      dict_.ttl(k, 0, &expires);
      std::string s = get_stale(dict_, k, 0) + " until " + std::to_string(expires);
      if (dict_.llen(k, 0).rc == kOk) {
        for (std::string v; (v = pop(dict_, k, End::kLeft, 0)) != "nil";) s += " " + v;
      }
      if (expires != 0 && expires <= now) s += kDead;
      all[k] = s;
    }
    return all;
  }

 private:
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  std::unique_ptr<char, Free> bytes_;
  size_t size_;
  Dict dict_;
};

struct Stepper {
  pid_t pid;
  explicit Stepper(const std::function<void()>& work) {
    pid = fork();
    if (pid == 0) {
      ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      raise(SIGSTOP);
      work();
      _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
  }
  bool step() {
    CHECK(ptrace(PTRACE_SINGLESTEP, pid, nullptr, nullptr) == 0);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status)) return false;
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
    return true;
  }
};

using Dump = std::map<std::string, std::string>;

void check_between(const Dump& got, const Dump& before, const Dump& after, const char* what) {
  Dump all = before;
  all.insert(after.begin(), after.end());
  all.insert(got.begin(), got.end());
  auto at = [](const Dump& d, const std::string& k) {
    auto it = d.find(k);
    return it == d.end() ? kNone : it->second;
  };
  for (auto& [k, unused] : all) {
    std::string g = at(got, k), b = at(before, k), a = at(after, k);
    // Any operation may give expired entries back, and one that is run again one more.
    if (g == b || g == a || (g == kNone && (a.ends_with(kDead) || b.ends_with(kDead)))) continue;
    std::fprintf(stderr, "%s, key %s: %.300s\nbefore: %.300s\nafter: %.300s\n", what, k.c_str(),
                 g.c_str(), b.c_str(), a.c_str());
    std::abort();
  }
}

struct Figures {
  size_t instructions = 0, states = 0, nested = 0;
};

// The states that `work` passes through in the memory at `base`, each handed over as a copy.
void walk(const char* base, size_t size, const std::function<void()>& work, Figures* f,
          const std::function<void(Copy&)>& state) {
  std::string last(base, size);
  Stepper child(work);
  while (child.step()) {
    f->instructions++;
    if (std::memcmp(last.data(), base, size) == 0) continue;
    last.assign(base, size);
    f->states++;
    Copy copy(base, size);
    state(copy);
  }
}

void crash_everywhere(Dict& d, const Zone& zone, const Step& s, int64_t now, Figures* f, Rng* rng) {
  const char* base = zone.segment.base();
  size_t size = zone.segment.size();
  Dump before = Copy(base, size).dump(now);
  std::vector<std::unique_ptr<Copy>> half_done;
  std::vector<Dump> recovered;
  walk(
      base, size, [&] { s.run(d, now); }, f,
      [&](Copy& copy) {
        if (rng->below(150) == 0 && half_done.size() < 2)
          half_done.push_back(std::make_unique<Copy>(copy.bytes(), size));
        copy->recover();
        const char* wrong = copy->check();
        if (wrong != nullptr)
          std::fprintf(stderr, "operation %d: %s\n", static_cast<int>(s.op), wrong);
        CHECK(wrong == nullptr && copy->header()->resets == 0);
        // It still works.
        Copy again(copy.bytes(), size);
        for (int i = 0; i < 5; i++) Step::random(*rng, 40, 3000).run(*again, now);
        CHECK(again->check() == nullptr);
        recovered.push_back(copy.dump(now));
      });
  Dump after = Copy(base, size).dump(now);
  char what[64];
  std::snprintf(what, sizeof what, "operation %d on %s", static_cast<int>(s.op), s.key.c_str());
  for (auto& got : recovered) check_between(got, before, after, what);

  // And death during the recovery from such a death.
  for (auto& half : half_done) {
    auto* shared = static_cast<char*>(
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    CHECK(shared != MAP_FAILED);
    std::memcpy(shared, half->bytes(), size);
    Dict broken;
    CHECK(Dict::open(shared, size, -1, &broken));
    Figures inner;
    walk(
        shared, size, [&] { broken.recover(); }, &inner,
        [&](Copy& copy) {
          copy->recover();
          CHECK(copy->check() == nullptr && copy->header()->resets == 0);
          check_between(copy.dump(now), before, after, "recovery");
        });
    f->nested += inner.states;
    munmap(shared, size);
  }
}

}  // namespace

SHM_TEST(crash_at_every_instruction) {
  Figures f;
  auto rounds = static_cast<uint64_t>(120 * scale());
  for (uint64_t seed = 1; seed <= rounds; seed++) {
    Rng rng{seed * 104729 + 3};
    ZoneHandle d(seed % 3 == 0 ? 8192 : seed % 3 == 1 ? 20480 : 40960, "c" + std::to_string(seed));
    int64_t now = kNow;
    uint32_t filled = rng.below(300);
    for (uint32_t i = 0; i < filled; i++) {
      now += rng.below(6);
      Step::random(rng, 40, 3000).run(*d, now);
    }
    Step s = Step::random(rng, 40, 3000);
    // Reads change little: mostly the others.
    while (
        (s.op == Op::kGet || s.op == Op::kGetStale || s.op == Op::kTtl || s.op == Op::kFreeSpace) &&
        rng.below(8) != 0) {
      s = Step::random(rng, 40, 3000);
    }
    if (seed % 40 == 0) s.op = Op::kFlushAll;
    crash_everywhere(*d, *d.zone, s, now, &f, &rng);
  }
  std::fprintf(stderr, "#   %zu instructions, %zu states recovered, %zu states of recoveries\n",
               f.instructions, f.states, f.nested);
  CHECK(f.states > 1000);
}

#endif
