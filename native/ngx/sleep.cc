// ngx.sleep.
#include "engine/phases.h"
#include "ngx/api.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

namespace {

int sleep(lua_State* L) {
  int nargs = lua_gettop(L);
  if (nargs != 1) return luaL_error(L, "attempt to pass %d arguments, but accepted 1", nargs);
  auto ms = static_cast<int64_t>(luaL_checknumber(L, 1) * 1000);
  if (!engine::request_of(L)) return luaL_error(L, "no request found");
  if (ms < 0) return luaL_error(L, "invalid sleep duration \"%d\"", static_cast<int>(ms));
  LuaCtx* ctx = engine::check(L, engine::kCapSleep);
  if (!ctx->current) return luaL_error(L, "no co ctx found");
  engine::Co* co = ctx->current;
  engine::cancel_pending(co);
  co->sleep.start(ctx->r, static_cast<uint64_t>(ms));
  MOONPHASE_LOG(ctx->r, kLogDebug, 0, "lua ready to sleep for %d ms", static_cast<int>(ms));
  return engine::wait(L, &co->sleep);
}

}  // namespace

void open_sleep(lua_State* L) {
  lua_pushcfunction(L, sleep);
  lua_setfield(L, -2, "sleep");
}

}  // namespace moonphase::ngx
