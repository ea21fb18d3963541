// A thread-local variable of a shared object that is loaded late costs a function call each time.
// For the first thread that comes, which mostly is the only one, this costs a comparison.
#pragma once

#include <pthread.h>

#include <atomic>

namespace moonphase::shm {

// `Find` says where the calling thread has its variable.
template <class T, T* (*Find)()>
class FirstThread {
 public:
  static T* get() {
    if (owner_.load(std::memory_order_relaxed) == __builtin_thread_pointer()) return value_;
    return find();
  }

 private:
  // Threads that come later may have the same thread pointer.
  struct Leaving {
    bool owns = false, gone = false;
    ~Leaving() {
      gone = true;
      if (owns) owner_.store(nullptr, std::memory_order_release);
    }
  };

  [[gnu::noinline]] static T* find() {
    static const int at_fork = pthread_atfork(nullptr, nullptr, [] {
      if (owner_.load() != __builtin_thread_pointer()) owner_.store(nullptr);
    });
    (void)at_fork;
    static thread_local Leaving leaving;
    static constinit char nobody = 0;
    T* value = Find();
    void* none = nullptr;
    if (!leaving.gone && owner_.compare_exchange_strong(none, &nobody, std::memory_order_acquire)) {
      value_ = value;
      leaving.owns = true;
      owner_.store(__builtin_thread_pointer(), std::memory_order_relaxed);
    }
    return value;
  }

  static inline constinit std::atomic<void*> owner_{nullptr};
  static inline constinit T* value_ = nullptr;  // the owner's
};

}  // namespace moonphase::shm
