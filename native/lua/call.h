// The only place that calls lua_pcall and lua_resume.
#pragma once

#include <lua.hpp>

#include "base/types.h"

namespace moonphase::lua {

// lua_pcall with a traceback handler: on failure the message (with traceback when `traceback`) is
// on the stack top.
int protected_call(lua_State* L, int nargs, int nresults, bool traceback = true);
// Runs `fn` protected, for native code that uses raising API functions; it finds `data` as a light
// userdata at index 1. 0, or a Lua status with the message on top.
int protect(lua_State* L, lua_CFunction fn, void* data);
// lua_resume.
int resume(lua_State* co, int nargs);
// The text of an error value on the top of L; `fallback` when it is no string. Valid while it stays
// there.
Str error_text(lua_State* L, const char* fallback);
// Pushes onto L "stack traceback:\ncoroutine 0:\n\t…", of a chain of coroutines, innermost first.
constexpr int kTracebackCoroutines = 5;
void push_traceback(lua_State* L, lua_State* const* chain, int count);

}  // namespace moonphase::lua
