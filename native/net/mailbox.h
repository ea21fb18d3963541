// From other threads to the loop's own.
#pragma once

#include <mutex>

#include "net/loop.h"

namespace moonphase::net {

struct Letter {
  void (*fn)(void* data) = nullptr;  // runs in the loop's thread, in a Loop::Scope
  void* data = nullptr;
  Letter* next = nullptr;
};

class Mailbox {
 public:
  // Does not hold the process, but while something is expected. The owner must `close()`; the
  // object frees itself after that.
  static Mailbox* open(Loop* loop);
  void expect(bool something);
  // From any thread. The letter stays the caller's; `fn` may free it.
  void send(Letter* letter);
  // Runs what has come and was not run yet, now.
  void deliver();
  // Nobody sends any more.
  void close();

 private:
  explicit Mailbox(Loop* loop) : loop_(loop) {}
  ~Mailbox() = default;
  uv_async_t async_{};
  Loop* loop_;
  std::mutex mutex_;
  Letter* first_ = nullptr;
  Letter** last_ = &first_;
};

}  // namespace moonphase::net
