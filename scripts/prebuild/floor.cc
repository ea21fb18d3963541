// For prebuilt addons only: what Debian 11 has in versions that glibc 2.28 and the libstdc++ of GCC 8 lack.
// Linked with --wrap for the functions of `kWrapped` in scripts/prebuild/floor.mjs, without link-time
// optimisation, which loses .symver.
#include <pthread.h>
#include <time.h>

#include <cerrno>
#include <new>

#if defined(__x86_64__)
#define OLDEST "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define OLDEST "GLIBC_2.17"
#endif

// glibc 2.29 gave these new versions, which differ in how they report errors to System V programs.
extern "C" {
__asm__(".symver oldest_exp, exp@" OLDEST);
__asm__(".symver oldest_log, log@" OLDEST);
__asm__(".symver oldest_pow, pow@" OLDEST);
__asm__(".symver oldest_log2, log2@" OLDEST);
double oldest_exp(double);
double oldest_log(double);
double oldest_pow(double, double);
double oldest_log2(double);
double __wrap_exp(double x) { return oldest_exp(x); }
double __wrap_log(double x) { return oldest_log(x); }
double __wrap_pow(double x, double y) { return oldest_pow(x, y); }
double __wrap_log2(double x) { return oldest_log2(x); }

// glibc 2.30. As libstdc++ does where it is missing: the rest of the time, on the clock that there is.
int pthread_cond_clockwait(pthread_cond_t* cond, pthread_mutex_t* mutex, clockid_t clock,
                           const timespec* until) {
  constexpr long kSecond = 1000000000;
  timespec there, real;
  clock_gettime(clock, &there);
  clock_gettime(CLOCK_REALTIME, &real);
  real.tv_sec += until->tv_sec - there.tv_sec;
  real.tv_nsec += until->tv_nsec - there.tv_nsec;
  if (real.tv_nsec >= kSecond) {
    real.tv_nsec -= kSecond;
    ++real.tv_sec;
  } else if (real.tv_nsec < 0) {
    real.tv_nsec += kSecond;
    --real.tv_sec;
  }
  int result = pthread_cond_timedwait(cond, mutex, &real);
  if (result != ETIMEDOUT) return result;
  clock_gettime(clock, &there);
  bool over = there.tv_sec > until->tv_sec ||
              (there.tv_sec == until->tv_sec && there.tv_nsec >= until->tv_nsec);
  return over ? ETIMEDOUT : 0;  // somebody has set the clock: a spurious wake-up
}
}

namespace std {
[[noreturn]] void __throw_bad_array_new_length() { throw bad_array_new_length(); }  // GCC 11
}  // namespace std
