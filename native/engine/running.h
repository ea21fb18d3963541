// Which generation's Lua runs on this thread: for FFI functions that are given neither a request
// nor a VM (ngx.worker.id, regex compilation, os.getenv in init_by_lua).
#pragma once

#include "engine/runtime.h"

namespace moonphase::engine {

extern constinit thread_local Generation* t_running;
// Null in a VM without a server (LuaVM).
inline Generation* running() { return t_running; }

// Every entry into a VM stands in one of these.
class Running {
 public:
  explicit Running(Generation* g) : before_(t_running) { t_running = g; }
  ~Running() { t_running = before_; }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  Generation* before_;
};

}  // namespace moonphase::engine
