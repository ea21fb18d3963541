// Waiting and waking: the two ends of every asynchronous operation.
#include "engine/pending.h"

#include "engine/lifecycle.h"
#include "engine/scheduler.h"
#include "lua/call.h"

namespace moonphase::engine {

namespace {

struct Fetch {
  Pending* pending;
  lua_State* to;
  int count;
};

int fetch(lua_State* L) {
  auto* f = static_cast<Fetch*>(lua_touserdata(L, 1));
  f->count = f->pending->results(L);
  lua_xmove(L, f->to, f->count);
  return 0;
}

// Puts the results onto the coroutine's stack. They are made on the VM's own stack: an error there
// can be caught.
int push_results(LuaCtx* ctx, Co* co, Pending* p) {
  if (p == &co->sleep) return 0;
  lua_State* L = ctx->L();
  void* outer = lua_getexdata(L);
  lua_setexdata(L, ctx->r);
  Fetch f{p, co->L, 0};
  RunningLua running(ctx->gen, L, 0, ctx->r->conn);
  int status = lua::protect(L, fetch, &f);
  lua_setexdata(L, outer);
  if (status == 0) return f.count;
  lua_pushnil(co->L);
  lua_xmove(L, co->L, 1);
  return 2;
}

void arm(LuaCtx* ctx, Pending* p) {
  Co* co = ctx->current;
  cancel_pending(co);
  co->pending = p;
  p->co = co;
}

}  // namespace

int yield_error(lua_State* L) {
  lua_pushliteral(L, "attempt to yield across C-call boundary");
  return lua_error(L);
}

int wait(lua_State* L, Pending* p) {
  Request* r = request_of(L);
  LuaCtx* ctx = r ? ctx_of(r) : nullptr;
  if (!ctx || !ctx->current || ctx->current->L != L || !lua_isyieldable(L)) {
    p->cancel();
    return yield_error(L);
  }
  arm(ctx, p);
  // With its arguments, though nobody takes them: they may be all that holds the object that it is
  // a method of. The results come behind them.
  return lua_yield(L, lua_gettop(L));
}

void wait_later(LuaCtx* ctx, Pending* p) { arm(ctx, p); }
void wait_later(lua_State* L, Pending* p) { arm(ctx_of(request_of(L)), p); }

void wake(Pending* p) {
  Co* co = p->co;
  if (!co) return;
  // A side run that is in place is below us on the stack.
  if (RunningLua::any() || co->ctx->side) {
    wake_later(p);
    return;
  }
  p->co = nullptr;
  co->pending = nullptr;
  // One that was marked by an FFI function and then could not yield.
  if (lua_status(co->L) != LUA_YIELD) {
    p->cancel();
    return;
  }
  CtxGuard guard(co->ctx);
  int n = push_results(co->ctx, co, p);
  if (guard.alive()) resume_co(co, n);
}

void wake_later(Pending* p) {
  Co* co = p->co;
  if (!co) return;
  p->co = nullptr;
  Scheduler::of(co->ctx->gen).make_ready(co);
}

void forget(Pending* p) {
  Co* co = p->co;
  if (!co) return;
  p->co = nullptr;
  co->pending = nullptr;
  if (co->ready) Scheduler::of(co->ctx->gen).drop_ready(co);
}

void SleepWait::start(http::Request* r, uint64_t ms) {
  r_ = r;
  timer_.fn = expired;
  timer_.data = this;
  net::current_loop()->set_timer(&timer_, ms);
}

void SleepWait::cancel() {
  if (!timer_.set()) return;
  MOONPHASE_LOG(r_, kLogDebug, 0, "lua clean up the timer for pending ngx.sleep");
  net::current_loop()->clear_timer(&timer_);
}

void SleepWait::expired(void* self) {
  auto* wait = static_cast<SleepWait*>(self);
  MOONPHASE_LOG(wait->r_, kLogDebug, 0, "lua sleep timer expired: \"%.*s?%.*s\"",
                STR(wait->r_->uri), STR(wait->r_->args));
  wake(wait);
}

}  // namespace moonphase::engine
