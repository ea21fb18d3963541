// Inside of the scheduler: what its files share. One per Generation, freed with the Generation's
// VM.
#pragma once

#include <memory>
#include <vector>

#include "engine/block_watch.h"
#include "engine/exec.h"
#include "engine/limits.h"
#include "engine/running.h"
#include "engine/runtime.h"

namespace moonphase::engine {

struct TimerTask;  // engine/timers.cc

struct Scheduler {
  explicit Scheduler(Generation* g);
  ~Scheduler();
  static Scheduler& of(Generation* g) {
    return g->scheduler ? *static_cast<Scheduler*>(g->scheduler) : make(g);
  }

  Co* alloc();
  void recycle(Co* co);

  struct Thread {
    lua_State* L;
    int ref;
  };
  std::vector<Thread> threads;  // finished coroutines of the generation's VM
  size_t max_threads = 0;

  // wake_later: woken coroutines in order.
  void make_ready(Co* co);
  void drop_ready(Co* co);

  // ngx.timer: pending ones, newest first.
  TimerTask* timers = nullptr;
  int pending_timers = 0, running_timers = 0;

  int requests = 0;  // since the last malloc_trim

  Generation* gen;

 private:
  static Scheduler& make(Generation* g);
  static void run_ready(void* self);
  static constexpr size_t kBlock = 64;
  std::vector<std::unique_ptr<Co[]>> blocks_;  // a Co's address stays valid: see co_of
  Co* free_ = nullptr;
  Co *ready_head_ = nullptr, *ready_tail_ = nullptr;
  net::Posted posted_{};
};

// True while a coroutine of this thread runs: events then wait for its end.
class RunningLua {
 public:
  // A coroutine that is to be resumed with `nargs` values, or what is to be called on L. `goes_on`:
  // nothing was waited for since another one ran.
  RunningLua(Generation* g, lua_State* L, int nargs, const LogContext* log = nullptr,
             bool goes_on = false)
      : running_(g), limits_(g->limits.get()) {
    if (limits_) paused_ = limits_->enter(goes_on);
    if (++running_.state->coroutines == 1 && g->block_watch) {
      watch_ = g->block_watch.get();
      watch_->enter(L, nargs, log);
    }
  }
  ~RunningLua() {
    if (limits_) limits_->leave(paused_);
    if (watch_) watch_->leave();
    --running_.state->coroutines;
  }
  RunningLua(const RunningLua&) = delete;
  RunningLua& operator=(const RunningLua&) = delete;
  static bool any() { return t_running.coroutines > 0; }

 private:
  Running running_;
  Limits* const limits_;
  int paused_ = 0;
  BlockWatch* watch_ = nullptr;
};

// A finished coroutine's thread goes to the pool, or to the garbage collector.
void release_thread(LuaCtx* ctx, lua_State* L, int ref);
// A coroutine for an entry function: of the pool, or new. Its exdata is set.
lua_State* obtain_thread(LuaCtx* ctx, int* ref);
lua_State* obtain_thread(Generation* g, lua::Vm* vm, int* ref, const http::Connection* c = nullptr);
void release_thread(Generation* g, lua::Vm* vm, lua_State* L, int ref);

// What a coroutine with a dead parent, or without anything to go on with, ends as.
inline bool alive(const Co* co) {
  return co && co->status != Co::kDead && co->status != Co::kZombie;
}

}  // namespace moonphase::engine
