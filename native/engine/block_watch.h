// lua_blocking_threshold: who keeps the event loop waiting. A thread looks at how long the Lua that
// runs has been running; beyond the threshold it sends the loop's thread a signal, whose handler
// sets a debug hook, whose call writes where Lua is. Compiled loops look at no hook: for them there
// is the line at the run's end, which tells how long it took and what it was.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "engine/lua_ctx.h"

namespace moonphase::engine {

class BlockWatch {
 public:
  // `threshold` in ms. Of the loop's thread.
  BlockWatch(Generation* g, int64_t threshold);
  ~BlockWatch();
  BlockWatch(const BlockWatch&) = delete;
  BlockWatch& operator=(const BlockWatch&) = delete;

  // Around every run of Lua that the loop waits for (RunningLua): of a coroutine with `nargs`
  // values on its stack, or of what is called on L. `log` may be null.
  void enter(lua_State* L, int nargs, const LogContext* log);
  void leave();

 private:
  static void on_signal(int);
  static void on_hook(lua_State* L, lua_Debug*);
  void watch();
  void report(lua_State* L, int64_t ms);
  void restore_hook(lua_State* L);

  Generation* gen_;
  lua_State* L_ = nullptr;  // of the run
  const LogContext* context_ = nullptr;
  lua_Debug place_{};  // where the run began
  int line_ = 0;
  const int64_t threshold_ns_;
  const std::thread::native_handle_type loop_thread_;
  std::atomic<int64_t> since_{0};  // when the run began, monotonic ns; 0: none
  std::atomic<bool> told_{false};  // the hook was asked for in this run
  // The hook that the program itself has set (debug.sethook).
  lua_Hook hook_ = nullptr;
  int hook_mask_ = 0, hook_count_ = 0;
  std::atomic<bool> hooked_{false};
  std::mutex mutex_;
  std::condition_variable ending_;
  bool end_ = false, interrupts_ = false;
  std::thread thread_;
};

}  // namespace moonphase::engine
