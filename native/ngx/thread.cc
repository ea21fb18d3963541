// ngx.thread: spawn, wait, kill.
#include "engine/phases.h"
#include "ngx/api.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

namespace {

using engine::Co;

int refuse(lua_State* L, const char* why) {
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

// The running coroutine, which must be able to yield.
Co* running(lua_State* L, LuaCtx* ctx) {
  Co* co = ctx->current;
  if (!co) luaL_error(L, "no co ctx found");
  if (co->L != L || !lua_isyieldable(L)) engine::yield_error(L);
  return co;
}

int spawn(lua_State* L) {
  luaL_argcheck(L, lua_isfunction(L, 1) && !lua_iscfunction(L, 1), 1, "Lua function expected");
  LuaCtx* ctx = engine::check(L, engine::kCapThread);
  Co* parent = running(L, ctx);
  int nargs = lua_gettop(L) - 1;
  lua_pushvalue(L, 1);
  Co* co = engine::new_coroutine(ctx, L, true);
  lua_replace(L, 1);
  lua_xmove(L, co->L, nargs);
  co->is_uthread = true;
  co->status = Co::kRunning;
  co->parent = parent;
  ++parent->threads;
  ++ctx->uthreads;
  // The new thread runs at once; we go on when it waits.
  parent->thread_spawn_yielded = true;
  engine::post_thread(ctx, parent);
  ctx->op = LuaCtx::kSpawn;
  ctx->op_args = nargs;
  ctx->current = co;
  return lua_yield(L, 1);
}

// The light thread at `i`, a child of ours; null: waited for or killed before.
Co* child_at(lua_State* L, LuaCtx* ctx, int i) {
  lua_State* thread = lua_tothread(L, i);
  luaL_argcheck(L, thread, i, "lua thread expected");
  if (lua_getexdata2(thread) == engine::dead_thread()) return nullptr;
  Co* co = engine::co_of(ctx, thread);
  if (!co) luaL_error(L, "no co ctx found");
  return co;
}

int wait(lua_State* L) {
  if (!engine::request_of(L)) return luaL_error(L, "no request found");
  LuaCtx* ctx = engine::check(L, engine::kCapThread);
  Co* self = running(L, ctx);
  int nargs = lua_gettop(L);
  if (nargs == 0) return luaL_error(L, "at least one coroutine should be specified");
  bool any = false;
  for (int i = 1; i <= nargs; ++i) {
    Co* co = child_at(L, ctx, i);
    if (!co) continue;
    if (!co->is_uthread)
      return luaL_error(L, "attempt to wait on a coroutine that is not a user thread");
    if (co->parent != self)
      return luaL_error(L, "only the parent coroutine can wait on the thread");
    if (co->status == Co::kZombie) {
      int n = co->nresults;
      lua_xmove(co->L, L, n);
      engine::free_coroutine(co);
      --ctx->uthreads;
      return n;
    }
    any = true;
  }
  if (!any) return refuse(L, "already waited or killed");
  for (int i = 1; i <= nargs; ++i)
    if (Co* co = child_at(L, ctx, i)) co->waited_by_parent = true;
  return lua_yield(L, 0);
}

int kill(lua_State* L) {
  if (!engine::request_of(L)) return luaL_error(L, "no request found");
  LuaCtx* ctx = engine::check(L, engine::kCapThread);
  Co* co = child_at(L, ctx, 1);
  if (!co) return refuse(L, "already waited or killed");
  if (!co->is_uthread) return refuse(L, "not user thread");
  if (co->parent != ctx->current) return refuse(L, "killer not parent");
  if (co->subrequests > 0) return refuse(L, "pending subrequests");
  if (co->status == Co::kZombie) {
    engine::free_coroutine(co);
    --ctx->uthreads;
    return refuse(L, "already terminated");
  }
  engine::kill_thread(co);
  lua_pushinteger(L, 1);
  return 1;
}

}  // namespace

void open_thread(lua_State* L) {
  lua_createtable(L, 0, 3);
  constexpr luaL_Reg functions[] = {
      {"spawn", spawn}, {"wait", wait}, {"kill", kill}, {nullptr, nullptr}};
  set_functions(L, functions);
  lua_setfield(L, -2, "thread");
}

}  // namespace moonphase::ngx
