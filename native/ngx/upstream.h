// Upstream groups for Lua.
#pragma once

#include <lua.hpp>

#include "engine/plan.h"

namespace moonphase::ngx {

// The Plan that the running code belongs to; null: it serves nothing.
engine::Plan* upstream_plan(lua_State* L);
// moonphase.upstream.core: pushes its table.
int new_upstream_changes(lua_State* L);

}  // namespace moonphase::ngx
