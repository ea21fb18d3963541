// coroutine.*: coroutines whose operations (sleep, sockets…) wait in the scheduler, while yield and
// resume go between them.
#include "engine/phases.h"
#include "engine/runtime.h"
#include "ngx/api.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

namespace {

using engine::Co;

constexpr const char* kStatusNames[] = {"running", "suspended", "normal", "dead", "zombie"};

lua_State* check_thread(lua_State* L) {
  lua_State* thread = lua_tothread(L, 1);
  luaL_argcheck(L, thread, 1, "coroutine expected");
  return thread;
}

Co* create_co(lua_State* L) {
  luaL_argcheck(L, lua_isfunction(L, 1) && !lua_iscfunction(L, 1), 1, "Lua function expected");
  LuaCtx* ctx = engine::check(L, engine::kCapYield);
  lua_pushvalue(L, 1);
  return engine::new_coroutine(ctx, L, false);
}

int create(lua_State* L) {
  create_co(L);
  return 1;
}

bool has_ended(lua_State* thread) {
  int status = lua_status(thread);
  return status > LUA_YIELD || (status == 0 && lua_gettop(thread) == 0);
}

int refuse(lua_State* L, const char* status) {
  lua_pushboolean(L, 0);
  lua_pushfstring(L, "cannot resume %s coroutine", status);
  return 2;
}

int resume(lua_State* L) {
  lua_State* thread = check_thread(L);
  LuaCtx* ctx = engine::check(L, engine::kCapYield);
  Co* parent = ctx->current;
  if (!parent) return luaL_error(L, "no parent co ctx found");
  Co* co = engine::co_of(ctx, thread);
  if (!co) {
    if (has_ended(thread)) return refuse(L, "dead");
    return luaL_error(L, "no co ctx found");
  }
  if (co->status != Co::kSuspended) return refuse(L, kStatusNames[co->status]);
  if (parent->L != L || !lua_isyieldable(L)) return engine::yield_error(L);
  parent->status = Co::kNormal;
  parent->child = co;
  co->parent = parent;
  co->status = Co::kRunning;
  int nargs = lua_gettop(L) - 1;
  lua_xmove(L, thread, nargs);
  ctx->op = LuaCtx::kResume;
  ctx->op_args = nargs;
  ctx->current = co;
  // The thread stays on our stack: nobody else may hold it while it waits.
  return lua_yield(L, 1);
}

int yield(lua_State* L) {
  LuaCtx* ctx = engine::check(L, engine::kCapYield);
  Co* co = ctx->current;
  if (!co || co->L != L || !lua_isyieldable(L)) return engine::yield_error(L);
  ctx->op = LuaCtx::kYield;
  return lua_yield(L, lua_gettop(L));
}

int run_wrapped(lua_State* L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  return resume(L);
}

int wrap(lua_State* L) {
  create_co(L)->is_wrap = true;
  lua_pushcclosure(L, run_wrapped, 1);
  return 1;
}

int status(lua_State* L) {
  lua_State* thread = check_thread(L);
  LuaCtx* ctx = engine::check(L, engine::kCapYield);
  Co* co = engine::co_of(ctx, thread);
  lua_pushstring(L, kStatusNames[co ? co->status : Co::kDead]);
  return 1;
}

// --- lua_phase_capabilities extended ---

// In a filter, lua-resty-core calls the stock functions: no filter can wait in OpenResty. Where one
// can, ours have to be called from there. The same names are what libraries yield by after an FFI
// function has begun an operation (coroutine._yield): that stays a bare yield.
bool scheduled(lua_State* L) {
  Request* r = engine::request_of(L);
  LuaCtx* ctx = r ? engine::ctx_of(r) : nullptr;
  return ctx && ctx->side && ctx->current && engine::has_capability(ctx, engine::kCapYield);
}

template <lua_CFunction Ours>
int choose(lua_State* L) {
  if (scheduled(L)) return Ours(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

int choose_yield(lua_State* L) {
  if (scheduled(L)) {
    const LuaCtx* ctx = engine::ctx_of(engine::request_of(L));
    bool operation = ctx->exited || (ctx->current->L == L && ctx->current->pending);
    if (!operation) return yield(L);
  }
  return lua_yield(L, lua_gettop(L));
}

void choose_by_phase(lua_State* L) {
  constexpr luaL_Reg functions[] = {{"_create", choose<create>},
                                    {"_resume", choose<resume>},
                                    {"_wrap", choose<wrap>},
                                    {"_status", choose<status>},
                                    {"_yield", choose_yield}};
  for (const luaL_Reg& f : functions) {
    lua_getfield(L, -1, f.name);
    lua_pushcclosure(L, f.func, 1);
    lua_setfield(L, -2, f.name);
  }
}

}  // namespace

// The stock functions stay as coroutine._X, ours are coroutine.__X; resty.core.coroutine chooses
// between them.
void open_coroutine(lua_State* L) {
  lua_getglobal(L, "coroutine");
  for (const char* name : {"create", "resume", "yield", "wrap", "status"}) {
    lua_getfield(L, -1, name);
    lua_pushfstring(L, "_%s", name);
    lua_insert(L, -2);
    lua_rawset(L, -3);
  }
  constexpr luaL_Reg functions[] = {{"__create", create}, {"__resume", resume}, {"__yield", yield},
                                    {"__wrap", wrap},     {"__status", status}, {nullptr, nullptr}};
  set_functions(L, functions);
  const engine::Generation* g = engine::generation_of(L);
  if (g && g->plan->lua.extended_capabilities) choose_by_phase(L);
  lua_pushnil(L);  // OpenResty's table has none
  lua_setfield(L, -2, "isyieldable");
  lua_pop(L, 1);
}

}  // namespace moonphase::ngx
