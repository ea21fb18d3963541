// As pthread's robust mutexes, the lock leans on the kernel's list of robust futexes: when a thread
// ends, the kernel marks what the thread's list names. Of that list only the one place for "being
// locked or unlocked now" is used, for as long as the lock is held, so that locking is one store
// and one atomic operation, about half of what pthread's takes.
#include "shm/mutex.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <ctime>

#include "shm/first_thread.h"

namespace moonphase::shm {

namespace {

// Operations hold the lock for some hundred nanoseconds, so a little patience is cheaper than a
// sleep.
constexpr int kSpins = 300;
// A wake-up is lost when the process that got it is killed before it takes the lock, and another
// took it meanwhile: nobody else is told, so nobody sleeps for long.
constexpr timespec kLongestSleep{0, 20'000'000};
constexpr timespec kShortSleep{0, 50'000};

struct Self {
  uint32_t tid = 0;  // 0: not known yet, or of the process that forked
  robust_list_head* head = nullptr;
};
constinit thread_local Self t_self;
Self* thread_self() { return &t_self; }
using MySelf = FirstThread<Self, thread_self>;
// In a sandbox without such lists deaths are not noticed.
thread_local robust_list_head t_none{};

[[gnu::noinline]] void know(Self* self) {
  static const int at_fork = pthread_atfork(nullptr, nullptr, [] { t_self.tid = 0; });
  (void)at_fork;
  size_t size = 0;
  if (syscall(SYS_get_robust_list, 0, &self->head, &size) != 0 || self->head == nullptr)
    self->head = &t_none;
  self->tid = static_cast<uint32_t>(syscall(SYS_gettid));
}

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

inline bool take(uint32_t* word, uint32_t from, uint32_t to) {
  return __atomic_compare_exchange_n(word, &from, to, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

[[gnu::noinline]] bool lock_slowly(uint32_t* word, uint32_t tid) {
  for (int i = 0; i < kSpins; i++) {
    relax();
    // Only to look does not take the cache line away from the owner.
    if (__atomic_load_n(word, __ATOMIC_RELAXED) == 0 && take(word, 0, tid)) return false;
  }
  for (;;) {
    uint32_t seen = __atomic_load_n(word, __ATOMIC_RELAXED);
    if (seen == 0) {
      // Others may wait too.
      if (take(word, 0, tid | FUTEX_WAITERS)) return false;
    } else if ((seen & FUTEX_OWNER_DIED) != 0) {
      if (take(word, seen, tid | FUTEX_WAITERS)) return true;
    } else if ((seen & FUTEX_WAITERS) != 0 || take(word, seen, seen | FUTEX_WAITERS)) {
      syscall(SYS_futex, word, FUTEX_WAIT, seen | FUTEX_WAITERS, &kLongestSleep, nullptr, 0);
    }
  }
}

}  // namespace

bool robust_lock(RobustLock* lock) {
  Self* self = MySelf::get();
  if (self->tid == 0) know(self);
  self->head->list_op_pending =
      reinterpret_cast<robust_list*>(reinterpret_cast<char*>(lock) - self->head->futex_offset);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return take(&lock->word, 0, self->tid) ? false : lock_slowly(&lock->word, self->tid);
}

void robust_unlock(RobustLock* lock) {
  uint32_t was = __atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE);
  if ((was & FUTEX_WAITERS) != 0)
    syscall(SYS_futex, &lock->word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  MySelf::get()->head->list_op_pending = nullptr;
}

RobustLock* robust_take_one(RobustLock* first, size_t stride, unsigned count) {
  constexpr unsigned kTries = 4;
  Self* self = MySelf::get();
  if (self->tid == 0) know(self);
  for (unsigned i = 0; i < kTries; i++) {
    char* at = reinterpret_cast<char*>(first) + ((self->tid + i) & (count - 1)) * stride;
    self->head->list_op_pending = reinterpret_cast<robust_list*>(at - self->head->futex_offset);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    auto* lock = reinterpret_cast<RobustLock*>(at);
    uint32_t seen = 0;
    do {
      if (__atomic_compare_exchange_n(&lock->word, &seen, self->tid, false, __ATOMIC_SEQ_CST,
                                      __ATOMIC_RELAXED))
        return lock;
    } while ((seen & FUTEX_OWNER_DIED) != 0);
  }
  self->head->list_op_pending = nullptr;
  return nullptr;
}

void robust_leave(RobustLock* lock) {
  __atomic_store_n(&lock->word, 0, __ATOMIC_RELEASE);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  MySelf::get()->head->list_op_pending = nullptr;
}

void robust_await(const RobustLock* lock) {
  // Longer only if the holder has lost its processor, or its life: then the kernel marks the word.
  for (int i = 0;; i++) {
    uint32_t seen = __atomic_load_n(&lock->word, __ATOMIC_SEQ_CST);
    if (seen == 0 || (seen & FUTEX_OWNER_DIED) != 0) return;
    if (i < kSpins) {
      relax();
    } else {
      nanosleep(&kShortSleep, nullptr);
    }
  }
}

}  // namespace moonphase::shm
