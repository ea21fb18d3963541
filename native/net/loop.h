// The thread's libuv loop, with what nginx's event loop has and libuv's has not: posted events,
// objects freed after the turn, many cheap timers.
#pragma once

#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/types.h"

namespace moonphase::net {

// A timer in the loop's heap; embedded in its owner, no allocation, no handle to close.
struct Timer {
  void (*fn)(void* data) = nullptr;
  void* data = nullptr;
  uint64_t due = 0;    // monotonic ms
  uint64_t order = 0;  // among equal ones: first set, first run
  int32_t slot = -1;   // place in the heap; -1: not set
  bool set() const { return slot >= 0; }
};

// Something to run at the end of the current loop callback, once, in order of posting.
struct Posted {
  void (*fn)(void* data) = nullptr;
  void* data = nullptr;
  Posted* next = nullptr;
  bool queued = false;
};

class Loop {
 public:
  explicit Loop(uv_loop_t* uv);
  ~Loop();
  uv_loop_t* uv() const { return uv_; }
  // now() without looking up the thread's storage.
  const Clock& clock() const { return clock_; }

  // Timers. `set_timer` on a set timer moves it; when the new time is later by less than `slack` ms
  // the old one is kept (nginx's lazy delay, 300 ms: cheap keep-alive timers). Precise users pass
  // 0.
  void set_timer(Timer* t, uint64_t ms, uint64_t slack = 0);
  void clear_timer(Timer* t);

  // Runs after the callback that is running now, before control returns to libuv.
  void post(Posted* p);
  void cancel(Posted* p);
  // `fn(data)` after the loop turn, when no frame of the callback is left: the way to free what is
  // being called.
  void defer_free(void (*fn)(void*), void* data);
  // `fn(data)` when the loop goes: for what keeps handles per loop.
  void at_end(void (*fn)(void*), void* data);

  // Every entry from libuv or from JavaScript is inside one of these; the outermost updates the
  // clock on entry (when `fresh` is set), and on leaving runs what was posted and deferred.
  class Scope {
   public:
    explicit Scope(Loop& loop, bool fresh = true);
    ~Scope();

   private:
    Loop& loop_;
  };

  // Keeps the process alive or lets it go (embedded gateways unref).
  void ref(bool on);

  // Each turn and how long it may wait goes to this log, on level debug, in nginx's words; null:
  // no more. It must stay until then.
  void trace(const Log* log);
  const Log* traced() const;

 private:
  friend class Scope;
  struct Impl;
  Impl* impl_;
  uv_loop_t* uv_;
  const Clock& clock_ = now();
};

// The loop of this thread (created by the addon for its env).
Loop* current_loop();
void set_current_loop(Loop* loop);

}  // namespace moonphase::net
