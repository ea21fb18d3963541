// Which generation's Lua runs on this thread: for FFI functions that are given neither a request
// nor a VM (ngx.worker.id, regex compilation, os.getenv in init_by_lua).
#pragma once

#include "engine/runtime.h"

namespace moonphase::engine {

struct RunningState {
  Generation* generation = nullptr;
  int coroutines = 0;  // see RunningLua
};
extern constinit thread_local RunningState t_running;
// Null in a VM without a server (LuaVM).
inline Generation* running() { return t_running.generation; }

// Every entry into a VM stands in one of these.
class Running {
 public:
  explicit Running(Generation* g) : state(&t_running), before_(state->generation) {
    state->generation = g;
  }
  ~Running() { state->generation = before_; }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  RunningState* const state;  // this thread's: looking it up is a call

 private:
  Generation* before_;
};

}  // namespace moonphase::engine
