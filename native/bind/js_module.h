// `require "js"`: JavaScript for Lua code, in a gateway or a LuaVM.
#pragma once

#include <lua.hpp>

namespace moonphase::bind {

// Puts it into package.preload.
void open_js(lua_State* L);

}  // namespace moonphase::bind
