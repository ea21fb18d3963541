// ngx.timer: at, every, running_count, pending_count.
#include "engine/timers.h"

#include "engine/phases.h"
#include "ngx/api.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

namespace {

int start(lua_State* L, bool every) {
  int nargs = lua_gettop(L);
  if (nargs < 2) return luaL_error(L, "expecting at least 2 arguments but got %d", nargs);
  auto delay = static_cast<int64_t>(luaL_checknumber(L, 1) * 1000);
  if (every && delay == 0) return luaL_error(L, "delay cannot be zero");
  luaL_argcheck(L, lua_isfunction(L, 2) && !lua_iscfunction(L, 2), 2, "Lua function expected");
  if (!engine::request_of(L)) return luaL_error(L, "no request");
  LuaCtx* ctx = engine::check(L, engine::kCapTimer);
  if (delay < 0) delay = 0;
  if (const char* why = engine::lua_start_timer(L, ctx, 2, delay, every)) {
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
  }
  lua_pushinteger(L, 1);
  return 1;
}

int at(lua_State* L) { return start(L, false); }
int every(lua_State* L) { return start(L, true); }

engine::Generation* generation(lua_State* L) {
  if (!engine::request_of(L)) luaL_error(L, "no request");
  return engine::generation_of(L);
}

int running_count(lua_State* L) {
  lua_pushinteger(L, engine::lua_running_timers(generation(L)));
  return 1;
}

int pending_count(lua_State* L) {
  lua_pushinteger(L, engine::lua_pending_timers(generation(L)));
  return 1;
}

}  // namespace

void open_timer(lua_State* L) {
  lua_createtable(L, 0, 4);
  constexpr luaL_Reg functions[] = {{"at", at},
                                    {"every", every},
                                    {"running_count", running_count},
                                    {"pending_count", pending_count},
                                    {nullptr, nullptr}};
  set_functions(L, functions);
  lua_setfield(L, -2, "timer");
}

}  // namespace moonphase::ngx
