#include "shm/mutex.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace moonphase::shm {

namespace {

[[noreturn]] void broken(const char* what, int err) {
  std::fprintf(stderr, "shared memory lock: %s: %s\n", what, std::strerror(err));
  std::abort();
}

// Operations hold the lock for some hundred nanoseconds, so a little patience is cheaper than a
// sleep.
constexpr int kSpins = 100;
constexpr long kLongestSleep = 20'000'000;  // ns

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

void robust_init(pthread_mutex_t* m) {
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
  int rc = pthread_mutex_init(m, &attr);
  pthread_mutexattr_destroy(&attr);
  if (rc != 0) broken("init", rc);
}

bool robust_lock(pthread_mutex_t* m) {
  int rc = pthread_mutex_trylock(m);
  for (int i = 0; rc == EBUSY && i < kSpins; i++) {
    for (int j = 0; j < 8; j++) relax();
    rc = pthread_mutex_trylock(m);
  }
  // A wake-up is lost when the process that got it is killed before it takes the lock, and another
  // took it meanwhile: nobody else is told, so nobody sleeps for long.
  while (rc == EBUSY || rc == ETIMEDOUT) {
    timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += kLongestSleep;
    if (until.tv_nsec >= 1'000'000'000) {
      until.tv_sec++;
      until.tv_nsec -= 1'000'000'000;
    }
    rc = pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &until);
  }
  if (rc == 0) return false;
  if (rc == EOWNERDEAD) return true;
  broken("lock", rc);
}

void robust_repaired(pthread_mutex_t* m) {
  int rc = pthread_mutex_consistent(m);
  if (rc != 0) broken("repair", rc);
}

void robust_unlock(pthread_mutex_t* m) {
  int rc = pthread_mutex_unlock(m);
  if (rc != 0) broken("unlock", rc);
}

}  // namespace moonphase::shm
