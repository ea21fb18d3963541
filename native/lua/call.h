// The only place that calls lua_pcall and lua_resume.
#pragma once

#include <lua.hpp>

#include <string>

#include "base/types.h"

namespace moonphase::lua {

// lua_pcall with a traceback handler: on failure the message (with traceback when `traceback`) is on the stack top.
int protected_call(lua_State* L, int nargs, int nresults, bool traceback = true);
// Runs `fn(L)` protected, for native code that uses raising API functions. 0 or a Lua status with the message on top.
int protect(lua_State* L, lua_CFunction fn, void* data);
// lua_resume.
int resume(lua_State* co, int nargs);
// "message\nstack traceback:\n…" of a coroutine as lua-nginx-module logs it ("coroutine 0:\n\t…").
Str traceback(lua_State* L, lua_State* co);

}  // namespace moonphase::lua
