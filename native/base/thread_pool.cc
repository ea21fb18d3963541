#include "base/thread_pool.h"

#include <csignal>

namespace moonphase {

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  work_.notify_all();
  for (std::thread& t : threads_) t.join();
}

bool ThreadPool::post(Task* task) {
  {
    std::lock_guard lock(mutex_);
    if (waiting_ >= max_queue_) return false;
    task->next = nullptr;
    *last_ = task;
    last_ = &task->next;
    ++waiting_;
    if (idle_ < waiting_ && threads_.size() < limit_) {
      // Signals are the main thread's.
      sigset_t all, before;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, &before);
      threads_.emplace_back([this] { work(); });
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
  }
  work_.notify_one();
  return true;
}

void ThreadPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    work_.wait(lock, [this] { return first_ || ending_; });
    --idle_;
    Task* task = first_;
    if (!task) return;
    first_ = task->next;
    if (!first_) last_ = &first_;
    --waiting_;
    lock.unlock();
    task->run(task->data);
    lock.lock();
  }
}

}  // namespace moonphase
