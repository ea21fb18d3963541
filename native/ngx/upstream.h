// Upstream groups for Lua.
#pragma once

#include <lua.hpp>

#include "engine/plan.h"

namespace moonphase::ngx {

// The Plan that the running code belongs to; null: it serves nothing.
engine::Plan* upstream_plan(lua_State* L);
// Fields of the table on the stack's top.
inline void set_text(lua_State* L, const char* key, Str text) {
  lua_pushlstring(L, text.data(), text.size());
  lua_setfield(L, -2, key);
}
inline void set_number(lua_State* L, const char* key, int64_t n) {
  lua_pushinteger(L, static_cast<lua_Integer>(n));
  lua_setfield(L, -2, key);
}
inline void set_bool(lua_State* L, const char* key, bool on) {
  lua_pushboolean(L, on);
  lua_setfield(L, -2, key);
}
// moonphase.upstream.core: pushes its table.
int new_upstream_changes(lua_State* L);

}  // namespace moonphase::ngx
