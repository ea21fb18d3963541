// How another thread gets the attention of a loop.
#pragma once

#include "net/loop.h"

namespace moonphase::net {

class Wakeup {
 public:
  // `fn(data)` runs on the thread of `loop`, in a Scope, once or more often after each send(). It
  // does not keep the loop alive.
  static Wakeup* create(Loop* loop, void (*fn)(void* data), void* data);
  void send();   // any thread
  void close();  // fn is not called again; the object frees itself. No send() from now on.

 private:
  Wakeup() = default;
  ~Wakeup() = default;

  uv_async_t async_{};
  Loop* loop_ = nullptr;
  void (*fn_)(void* data) = nullptr;
  void* data_ = nullptr;
};

}  // namespace moonphase::net
