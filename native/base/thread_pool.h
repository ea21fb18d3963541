// Threads that run tasks: `thread_pool NAME threads=N max_queue=N`. A thread starts when a task
// finds none idle.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace moonphase {

class ThreadPool {
 public:
  struct Task {
    void (*run)(void* data) = nullptr;
    void* data = nullptr;
    Task* next = nullptr;
  };
  ThreadPool(size_t threads, size_t max_queue) : limit_(threads), max_queue_(max_queue) {}
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  // Returns when everything that was posted has run.
  ~ThreadPool();
  // From the owner's thread. The task stays the caller's. False: so many wait already.
  bool post(Task* task);
  size_t waiting() const { return waiting_; }

 private:
  void work();
  const size_t limit_, max_queue_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::vector<std::thread> threads_;
  Task* first_ = nullptr;
  Task** last_ = &first_;
  size_t waiting_ = 0, idle_ = 0;
  bool ending_ = false;
};

}  // namespace moonphase
