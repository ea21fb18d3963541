#include "lua/call.h"

namespace moonphase::lua {

namespace {

constexpr int kTracebackDepth = 22;

int add_traceback(lua_State* L) {
  if (lua_isstring(L, 1)) luaL_traceback(L, L, lua_tostring(L, 1), 1);
  return 1;
}

// The same function each time: one for each call would be garbage.
void push_traceback_handler(lua_State* L) {
  static const char kKey[] = "moonphase.traceback";
  lua_pushlightuserdata(L, const_cast<char*>(kKey));
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (!lua_isnil(L, -1)) return;
  lua_pop(L, 1);
  lua_pushlightuserdata(L, const_cast<char*>(kKey));
  lua_pushcfunction(L, add_traceback);
  lua_rawset(L, LUA_REGISTRYINDEX);
  push_traceback_handler(L);
}

void add_frame(lua_State* L, lua_State* co, lua_Debug* ar) {
  lua_getinfo(co, "Snl", ar);
  lua_pushfstring(L, "\n\t%s:", ar->short_src);
  if (ar->currentline > 0) lua_pushfstring(L, "%d:", ar->currentline);
  if (*ar->namewhat) {
    lua_pushfstring(L, " in function '%s'", ar->name);
  } else if (*ar->what == 'm') {
    lua_pushliteral(L, " in main chunk");
  } else if (*ar->what == 'C' || *ar->what == 't') {
    lua_pushliteral(L, " ?");
  } else {
    lua_pushfstring(L, " in function <%s:%d>", ar->short_src, ar->linedefined);
  }
}

// Of the table on top.
void raw_field(lua_State* L, const char* name) {
  lua_pushstring(L, name);
  lua_rawget(L, -2);
}

}  // namespace

int protected_call(lua_State* L, int nargs, int nresults, bool traceback) {
  if (!traceback) return lua_pcall(L, nargs, nresults, 0);
  int base = lua_gettop(L) - nargs;
  push_traceback_handler(L);
  lua_insert(L, base);
  int status = lua_pcall(L, nargs, nresults, base);
  lua_remove(L, base);
  return status;
}

// Not lua_pcall: the function object, too, is made where its failure is caught.
int protect(lua_State* L, lua_CFunction fn, void* data) { return lua_cpcall(L, fn, data); }

int resume(lua_State* co, int nargs) {
  // What the function that yielded left on its stack goes first: on arm64 LuaJIT counts all of the
  // frame as its results.
  if (lua_status(co) == LUA_YIELD)
    for (int stale = lua_gettop(co) - nargs; stale > 0; --stale) lua_remove(co, 1);
  return lua_resume(co, nargs);
}

Str error_text(lua_State* L, const char* fallback) {
  size_t n;
  const char* s = lua_tolstring(L, -1, &n);
  if (!s && lua_istable(L, -1)) {
    // An error of JavaScript's: its table keeps the text.
    raw_field(L, "error");
    bool ours = lua_isuserdata(L, -1) != 0;
    lua_pop(L, 1);
    raw_field(L, "stack");
    if (ours && lua_type(L, -1) == LUA_TSTRING) s = lua_tolstring(L, -1, &n);
    lua_pop(L, 1);
  }
  return s ? Str(s, n) : Str(fallback);
}

void push_traceback(lua_State* L, lua_State* const* chain, int count) {
  int base = lua_gettop(L);
  luaL_checkstack(L, 10, nullptr);
  lua_pushliteral(L, "stack traceback:");
  for (int i = 0; i < count && i < kTracebackCoroutines; ++i) {
    lua_State* co = chain[i];
    lua_pushfstring(L, "\ncoroutine %d:", i);
    lua_Debug ar;
    for (int level = 0; lua_getstack(co, level, &ar); ++level) {
      if (level >= kTracebackDepth) {
        lua_pushliteral(L, "\n\t...");
        break;
      }
      add_frame(L, co, &ar);
      lua_concat(L, lua_gettop(L) - base);
    }
  }
  lua_concat(L, lua_gettop(L) - base);
}

}  // namespace moonphase::lua
