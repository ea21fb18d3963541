// Loading Lua code: from text, from files (source or bytecode), cached by the caller through
// registry references.
#pragma once

#include <lua.hpp>

#include "base/types.h"

namespace moonphase::lua {

// Pushes the loaded main function (not vararg unless the code uses `...`, so that LuaJIT compiles
// it) or an error message.
int load_source(lua_State* L, Str source, const char* chunk_name);
// LUA_ERRFILE leaves errno; messages as luaL_loadfile's: "cannot open PATH: No such file or
// directory".
int load_file(lua_State* L, const char* path);

}  // namespace moonphase::lua
