// ngx.timer: coroutines that start later, with a request of their own that has no client.
#pragma once

#include <string>

#include "engine/exec.h"

namespace moonphase::engine {

// The function and its arguments are on L's stack from `first` to the top. `every` repeats. Null,
// or why not.
const char* lua_start_timer(lua_State* L, LuaCtx* ctx, int first, int64_t delay_ms, bool every);

// The place in the configuration that a timer takes over from who starts it, for timers that start
// when nobody runs.
struct TimerOrigin {
  const http::ServerCore* srv = nullptr;
  const http::CoreConf* conf = nullptr;
  const http::ListenConf* listen = nullptr;
  std::string client;
};
TimerOrigin timer_origin(LuaCtx* ctx);
// A timer without delay, of an event that Lua waits for; else as above.
const char* lua_start_event(lua_State* L, Generation* g, const TimerOrigin& origin, int first);

}  // namespace moonphase::engine
