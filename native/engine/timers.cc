#include "engine/timers.h"

#include <string>

#include "base/log.h"
#include "engine/lifecycle.h"
#include "engine/scheduler.h"

namespace moonphase::engine {

// A timer that has not fired yet. Its coroutine holds the function and the arguments.
struct TimerTask {
  net::Timer timer{};
  Generation* gen;  // held
  lua::Vm* vm;      // held; null: the running timer has it now
  lua_State* co;
  int ref;
  int64_t delay;  // of repeated ones; 0: once
  bool premature = false;
  const http::ServerCore* srv = nullptr;  // the place in the configuration of who started it
  const http::CoreConf* conf = nullptr;
  const http::ListenConf* listen = nullptr;
  std::string client;
  TimerTask *next = nullptr, *prev = nullptr;
};

namespace {

void fire(void* p);

void link(TimerTask* t) {
  Scheduler& s = Scheduler::of(t->gen);
  t->next = s.timers;
  if (t->next) t->next->prev = t;
  s.timers = t;
  ++s.pending_timers;
}

void unlink(TimerTask* t) {
  Scheduler& s = Scheduler::of(t->gen);
  if (t->next) t->next->prev = t->prev;
  (t->prev ? t->prev->next : s.timers) = t->next;
  --s.pending_timers;
}

TimerTask* make_task(Generation* g, lua::Vm* vm, int64_t delay) {
  auto* t = new TimerTask();
  t->timer.fn = fire;
  t->timer.data = t;
  t->gen = g;
  t->vm = vm;
  t->delay = delay;
  retain(g);
  vm->retain();
  t->co = obtain_thread(g, vm, &t->ref);
  return t;
}

void free_task(TimerTask* t) {
  Generation* g = t->gen;
  if (t->vm) release_vm(g, t->vm);
  delete t;
  release(g);
}

// The next run of a repeated timer: the same function and arguments in a new coroutine.
void repeat(const TimerTask* old) {
  TimerTask* t = make_task(old->gen, old->vm, old->delay);
  t->srv = old->srv;
  t->conf = old->conf;
  t->client = old->client;
  t->listen = old->listen;
  lua_State* from = old->co;
  int n = lua_gettop(from);
  lua_checkstack(from, n);
  for (int i = 1; i <= n; ++i) lua_pushvalue(from, i);
  lua_xmove(from, t->co, n);
  link(t);
  t->gen->runtime->loop->set_timer(&t->timer, static_cast<uint64_t>(t->delay));
}

void refuse(TimerTask* t, int limit) {
  lua_Debug ar;
  lua_pushvalue(t->co, 1);
  lua_getinfo(t->co, ">S", &ar);
  const Log& log = t->gen->plan->error_log;
  if (log.enabled(kLogAlert))
    log_write(log, nullptr, kLogAlert, 0,
              "lua failed to run timer with function defined at %s:%d: %d lua_max_running_timers "
              "are not enough",
              ar.source ? ar.source : "(unknown)", ar.linedefined, limit);
  release_thread(t->gen, t->vm, t->co, t->ref);
}

// All coroutines of a timer have ended.
void finish(LuaCtx* ctx, int) { finish_fake_request(ctx->r); }

void run(TimerTask* t) {
  Generation* g = t->gen;
  Request* r = g->runtime->fake_request(g, kPhaseTimer);
  inherit_request(r, t->srv, t->conf, t->listen, t->client);
  LuaCtx* ctx = make_fake_ctx(r, t->vm, kPhaseTimer);
  t->vm = nullptr;
  ctx->is_timer = true;
  ctx->entered_content = true;
  ctx->finish = finish;
  ++Scheduler::of(g).running_timers;
  lua_State* co = t->co;
  lua_pushboolean(co, t->premature);
  if (lua_gettop(co) > 2) lua_insert(co, 2);
  int nargs = lua_gettop(co) - 1;
  resume_co(adopt_entry(ctx, co, t->ref), nargs);
}

void fire(void* p) {
  auto* t = static_cast<TimerTask*>(p);
  Generation* g = t->gen;
  const Log& log = g->plan->error_log;
  if (log.enabled(kLogDebug)) log_write(log, nullptr, kLogDebug, 0, "lua ngx.timer expired");
  unlink(t);
  if (!g->exiting && t->delay > 0) repeat(t);
  int limit = g->plan->lua.max_running_timers;
  if (Scheduler::of(g).running_timers >= limit) {
    refuse(t, limit);
  } else {
    run(t);
  }
  free_task(t);
}

}  // namespace

namespace {

const char* start(lua_State* L, Generation* g, lua::Vm* vm, const TimerOrigin& origin, int first,
                  int64_t delay_ms, bool every) {
  if (g->exiting && delay_ms > 0) return "process exiting";
  if (Scheduler::of(g).pending_timers >= g->plan->lua.max_pending_timers)
    return "too many pending timers";
  TimerTask* t = make_task(g, vm, every ? delay_ms : 0);
  t->srv = origin.srv;
  t->conf = origin.conf;
  t->client = origin.client;
  t->listen = origin.listen;
  lua_xmove(L, t->co, lua_gettop(L) - first + 1);
  link(t);
  g->runtime->loop->set_timer(&t->timer, static_cast<uint64_t>(delay_ms));
  return nullptr;
}

}  // namespace

TimerOrigin timer_origin(LuaCtx* ctx) {
  const http::Connection* c = ctx->r->conn;
  return {ctx->r->srv, ctx->r->loc, c->listen, std::string(c->addr_text)};
}

const char* lua_start_timer(lua_State* L, LuaCtx* ctx, int first, int64_t delay_ms, bool every) {
  return start(L, ctx->gen, ctx->vm, timer_origin(ctx), first, delay_ms, every);
}

const char* lua_start_event(lua_State* L, Generation* g, const TimerOrigin& origin, int first) {
  return start(L, g, g->vm, origin, first, 0, false);
}

void lua_abort_timers(Generation* g) {
  g->exiting = true;
  if (!g->vm || !g->scheduler) return;
  Scheduler& s = Scheduler::of(g);
  const Log& log = g->plan->error_log;
  if (log.enabled(kLogDebug)) log_write(log, nullptr, kLogDebug, 0, "lua abort pending timers");
  if (!s.timers) return;
  // Those that the fired ones start stay: they have a delay of 0.
  std::vector<TimerTask*> tasks;
  for (TimerTask* t = s.timers; t; t = t->next) tasks.push_back(t);
  if (log.enabled(kLogDebug))
    log_write(log, nullptr, kLogDebug, 0, "lua found %d pending timers to be aborted prematurely",
              static_cast<int>(tasks.size()));
  retain(g);
  for (size_t i = tasks.size(); i-- > 0;) {
    TimerTask* t = tasks[i];
    g->runtime->loop->clear_timer(&t->timer);
    t->premature = true;
    fire(t);
  }
  release(g);
}

void lua_drop_timers(Generation* g) {
  if (!g->scheduler) return;
  retain(g);
  while (TimerTask* t = Scheduler::of(g).timers) {
    g->runtime->loop->clear_timer(&t->timer);
    unlink(t);
    release_thread(g, t->vm, t->co, t->ref);
    free_task(t);
  }
  release(g);
}

int lua_pending_timers(const Generation* g) {
  return g->scheduler ? static_cast<Scheduler*>(g->scheduler)->pending_timers : 0;
}
int lua_running_timers(const Generation* g) {
  return g->scheduler ? static_cast<Scheduler*>(g->scheduler)->running_timers : 0;
}

}  // namespace moonphase::engine
