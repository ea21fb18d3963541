// ngx.timer: coroutines that start later, with a request of their own that has no client.
#pragma once

#include "engine/exec.h"

namespace moonphase::engine {

// The function and its arguments are on L's stack from `first` to the top. `every` repeats. Null,
// or why not.
const char* lua_start_timer(lua_State* L, LuaCtx* ctx, int first, int64_t delay_ms, bool every);

}  // namespace moonphase::engine
