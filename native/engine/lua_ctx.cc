// The ctx of a request: made on first use, destroyed with the request's memory. VMs, and what a
// phase may do.
#include "engine/lua_ctx.h"

#include <cstdio>

#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/running.h"
#include "engine/runtime.h"
#include "engine/side_run.h"

namespace moonphase::engine {

void (*lua_open_api)(lua_State* L) = nullptr;
int (*push_js_handler)(lua_State* L, const Plan& plan, int index) = nullptr;

CtxGuard::CtxGuard(LuaCtx* c) : ctx(c), below(c->guard) { c->guard = this; }
CtxGuard::~CtxGuard() {
  if (ctx) ctx->guard = below;
}

namespace {

void release_ngx_ctx(LuaCtx* ctx) {
  if (ctx->ctx_ref < 0) return;
  MOONPHASE_LOG(ctx->r, kLogDebug, 0, "lua release ngx.ctx at ref %d", ctx->ctx_ref);
  lua_State* L = ctx->L();
  lua_pushliteral(L, "ngx_lua_ctx_tables");
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_istable(L, -1)) luaL_unref(L, -1, ctx->ctx_ref);
  lua_pop(L, 1);
  ctx->ctx_ref = LUA_NOREF;
}

void destroy(void* p) {
  auto* ctx = static_cast<LuaCtx*>(p);
  cleanup(ctx);
  if (ctx->extended) end_sides(ctx, 0);
  release_ngx_ctx(ctx);
  for (CtxGuard* g = ctx->guard; g; g = g->below) g->ctx = nullptr;
  if (ctx->r->lua == ctx) ctx->r->lua = nullptr;
  if (ctx->holds_vm) release_vm(ctx->gen, ctx->vm);
  release(ctx->gen);
}

void defer(void (*fn)(void*), void* data) {
  if (net::Loop* loop = net::current_loop()) {
    loop->defer_free(fn, data);
  } else {
    fn(data);
  }
}

lua::Vm* hold(lua::Vm* vm) {
  vm->retain();
  return vm;
}

void log_close(const Log& log, const lua::Vm* vm) {
  if (log.enabled(kLogDebug))
    log_write(log, nullptr, kLogDebug, 0, "lua close the global Lua VM %p",
              static_cast<void*>(vm->L()));
}

// lua_code_cache off: each main request has a VM of its own, which its subrequests share. The
// caller owns a reference.
lua::Vm* vm_for(Request* r, Generation* g) {
  const LocConf* conf = loc(r);
  if (!conf || conf->lua.code_cache) return hold(g->vm);
  for (Request* p = r->parent; p; p = p->parent)
    if (LuaCtx* ctx = ctx_of(p)) return hold(ctx->vm);
  std::string error;
  lua::Vm* vm = make_vm(g, &error);
  if (!vm) {
    MOONPHASE_LOG(r, kLogErr, 0, "%s", error.c_str());
    return nullptr;
  }
  if (lua_run_init(vm, g, &error) == kOk) return vm;
  MOONPHASE_LOG(r, kLogErr, 0, "%s", error.c_str());
  vm->release();
  return nullptr;
}

LuaCtx* make_ctx(Request* r, Generation* g, lua::Vm* vm) {
  auto* ctx = r->pool->make<LuaCtx>();
  ctx->r = r;
  ctx->gen = g;
  ctx->vm = vm;
  ctx->holds_vm = true;
  retain(g);
  r->lua = ctx;
  r->pool->on_destroy(destroy, ctx);
  if (g->plan->lua.extended_capabilities) {
    ctx->next_of_main = static_cast<LuaCtx*>(r->main->lua_contexts);
    r->main->lua_contexts = ctx;
  }
  return ctx;
}

}  // namespace

LuaCtx* lua_ctx(Request* r) {
  if (r->lua) return ctx_of(r);
  Generation* g = generation(r);
  lua::Vm* vm = vm_for(r, g);
  if (!vm) return nullptr;
  return make_ctx(r, g, vm);
}

LuaCtx* make_fake_ctx(Request* r, lua::Vm* vm, uint32_t phase) {
  LuaCtx* ctx = make_ctx(r, generation(r), vm);
  ctx->fake = true;
  enter_phase(ctx, phase);
  return ctx;
}

LuaCtx* make_capture_ctx(Request* sr, LuaCtx* parent) {
  LuaCtx* ctx = make_ctx(sr, parent->gen, parent->vm);
  ctx->holds_vm = false;
  ctx->capture = true;
  ctx->last_body = &ctx->body;
  return ctx;
}

void restart(LuaCtx* ctx) {
  reset(ctx);
  release_ngx_ctx(ctx);
  LuaCtx fresh;
  fresh.r = ctx->r;
  fresh.gen = ctx->gen;
  fresh.vm = ctx->vm;
  fresh.holds_vm = ctx->holds_vm;
  fresh.guard = ctx->guard;
  fresh.fake = ctx->fake;
  fresh.parked = ctx->parked;
  fresh.phase = ctx->phase;
  fresh.caps = ctx->caps;
  fresh.extended = ctx->extended;
  fresh.next_of_main = ctx->next_of_main;
  *ctx = fresh;
}

uint32_t enter_phase(LuaCtx* ctx, uint32_t bit) {
  uint32_t before = ctx->phase;
  ctx->phase = bit;
  const PhaseRow* row = phase_row(bit);
  ctx->caps = !row ? 0 : ctx->gen->plan->lua.extended_capabilities ? row->extended : row->strict;
  return before;
}

void release_vm(Generation* g, lua::Vm* vm) {
  if (vm != g->vm) {
    const Log& log = g->plan->error_log;
    if (log.enabled(kLogDebug))
      log_write(log, nullptr, kLogDebug, 0, "lua decrementing the reference count for Lua VM: %d",
                vm->refs());
    if (vm->refs() == 1) log_close(log, vm);
  }
  vm->release();
}

void close_vm(Generation* g) {
  log_close(g->plan->error_log, g->vm);
  g->vm->release_now();
}

lua::Vm* make_vm(Generation* g, std::string* error) {
  const Plan& plan = *g->plan;
  const RuntimeOptions& runtime = g->runtime->options;
  lua::VmOptions options;
  options.package_path = plan.lua.package_path;
  options.package_cpath = plan.lua.package_cpath;
  options.lualib = runtime.lualib;
  options.user_lualib = runtime.user_lualib;
  options.prefix = plan.prefix;
  options.open = lua_open_api;
  options.user = g;
  options.log = &plan.error_log;
  options.defer = defer;
  Running running(g);
  return lua::Vm::create(options, error);
}

Generation* generation_of(lua_State* L) {
  lua::Vm* vm = lua::Vm::of(L);
  return vm ? static_cast<Generation*>(vm->user) : nullptr;
}

bool has_capability(const LuaCtx* ctx, uint32_t caps) { return (ctx->caps & caps) == caps; }

LuaCtx* check(lua_State* L, uint32_t caps) {
  Request* r = request_of(L);
  if (!r) {
    luaL_error(L, "no request found");
    return nullptr;
  }
  LuaCtx* ctx = ctx_of(r);
  if (!ctx) {
    luaL_error(L, "no request ctx found");
    return nullptr;
  }
  if (!has_capability(ctx, caps)) {
    const PhaseRow* row = phase_row(ctx->phase);
    luaL_error(L, "API disabled in the context of %s", row ? row->directive : "(unknown)");
  }
  return ctx;
}

int check_ffi(Request* r, uint32_t caps, char* err, size_t* errlen) {
  LuaCtx* ctx = ctx_of(r);
  if (!ctx) {
    int n = snprintf(err, *errlen, "no request ctx found");
    *errlen = static_cast<size_t>(n);
    return kNoReqCtx;
  }
  if (has_capability(ctx, caps)) return kOk;
  const PhaseRow* row = phase_row(ctx->phase);
  int n = snprintf(err, *errlen, "API disabled in the context of %s",
                   row ? row->directive : "(unknown)");
  *errlen = n < 0 ? 0 : static_cast<size_t>(n) < *errlen ? static_cast<size_t>(n) : *errlen;
  return kBadContext;
}

}  // namespace moonphase::engine
