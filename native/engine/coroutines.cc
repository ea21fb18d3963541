// Coroutines: their records, the pool of finished ones, creation and end.
#include "engine/lifecycle.h"
#include "engine/scheduler.h"

namespace moonphase::engine {

Scheduler::Scheduler(Generation* g) : gen(g) {
  max_threads = static_cast<size_t>(g->plan->lua.thread_cache_max_entries);
  posted_.fn = run_ready;
  posted_.data = this;
}

Scheduler::~Scheduler() {
  if (posted_.queued) net::current_loop()->cancel(&posted_);
}

Scheduler& Scheduler::make(Generation* g) {
  auto* s = new Scheduler(g);
  g->scheduler = s;
  g->vm->on_close([](void* p) { delete static_cast<Scheduler*>(p); }, s);
  return *s;
}

Co* Scheduler::alloc() {
  if (!free_) {
    blocks_.push_back(std::make_unique<Co[]>(kBlock));
    for (size_t i = kBlock; i-- > 0;) {
      blocks_.back()[i].next = free_;
      free_ = &blocks_.back()[i];
    }
  }
  Co* co = free_;
  free_ = co->next;
  co->next = nullptr;
  return co;
}

void Scheduler::recycle(Co* co) {
  new (co) Co;  // in place: a temporary costs a stalled copy
  co->next = free_;
  free_ = co;
}

void Scheduler::make_ready(Co* co) {
  if (co->ready) return;
  co->ready = true;
  co->ready_next = nullptr;
  (ready_tail_ ? ready_tail_->ready_next : ready_head_) = co;
  ready_tail_ = co;
  if (!posted_.queued) net::current_loop()->post(&posted_);
}

void Scheduler::drop_ready(Co* co) {
  Co* before = nullptr;
  for (Co* i = ready_head_; i; before = i, i = i->ready_next) {
    if (i != co) continue;
    (before ? before->ready_next : ready_head_) = co->ready_next;
    if (ready_tail_ == co) ready_tail_ = before;
    break;
  }
  co->ready = false;
}

void Scheduler::run_ready(void* self) {
  auto* s = static_cast<Scheduler*>(self);
  while (Co* co = s->ready_head_) {
    s->ready_head_ = co->ready_next;
    if (!s->ready_head_) s->ready_tail_ = nullptr;
    co->ready = false;
    Pending* p = co->pending;
    if (!p) continue;
    p->co = co;
    wake(p);
  }
}

lua_State* obtain_thread(Generation* g, lua::Vm* vm, int* ref, const http::Connection* c) {
  Scheduler& s = Scheduler::of(g);
  if (vm == g->vm && !s.threads.empty()) {
    Scheduler::Thread t = s.threads.back();
    s.threads.pop_back();
    *ref = t.ref;
    const Log& log = c ? c->log : g->plan->error_log;
    if (log.enabled(kLogDebug))
      log_write(log, c, kLogDebug, 0, "lua reusing cached lua thread %p (ref %d)",
                static_cast<void*>(t.L), t.ref);
    return t.L;
  }
  lua_State* L = vm->L();
  lua_State* co = lua_newthread(L);
  *ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return co;
}

lua_State* obtain_thread(LuaCtx* ctx, int* ref) {
  lua_State* co = obtain_thread(ctx->gen, ctx->vm, ref, ctx->r->conn);
  lua_setexdata(co, ctx->r);
  return co;
}

void release_thread(Generation* g, lua::Vm* vm, lua_State* co, int ref) {
  Scheduler& s = Scheduler::of(g);
  lua_State* L = vm->L();
  if (vm != g->vm || s.threads.size() >= s.max_threads) {
    lua_setexdata2(co, nullptr);
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
    return;
  }
  // One that has ended by itself is as good as new; unless its code has changed the thread's
  // globals.
  if (lua_status(co) != 0 ||
      lua_topointer(co, LUA_GLOBALSINDEX) != lua_topointer(L, LUA_GLOBALSINDEX)) {
    lua_resetthread(L, co);
  } else {
    lua_settop(co, 0);
  }
  lua_setexdata(co, nullptr);
  lua_setexdata2(co, nullptr);
  s.threads.push_back({co, ref});
}

void release_thread(LuaCtx* ctx, lua_State* co, int ref) {
  Scheduler& s = Scheduler::of(ctx->gen);
  if (ctx->vm == ctx->gen->vm && s.threads.size() < s.max_threads)
    MOONPHASE_LOG(ctx->r, kLogDebug, 0, "lua caching unused lua thread %p (ref %d)",
                  static_cast<void*>(co), ref);
  release_thread(ctx->gen, ctx->vm, co, ref);
}

namespace {

Co* make_co(LuaCtx* ctx, lua_State* L) {
  Co* co = Scheduler::of(ctx->gen).alloc();
  co->L = L;
  co->ctx = ctx;
  co->side = ctx->side;
  lua_setexdata2(L, co);
  return co;
}

void link(LuaCtx* ctx, Co* co) {
  co->next = ctx->coroutines;
  if (co->next) co->next->prev = co;
  ctx->coroutines = co;
}

void unlink(LuaCtx* ctx, Co* co) {
  if (ctx->entry == co) {
    ctx->entry = nullptr;
    return;
  }
  if (co->next) co->next->prev = co->prev;
  (co->prev ? co->prev->next : ctx->coroutines) = co->next;
}

void drop_posted(LuaCtx* ctx, Co* co) {
  Co* before = nullptr;
  for (Co* i = ctx->posted_head; i; before = i, i = i->posted_next) {
    if (i != co) continue;
    (before ? before->posted_next : ctx->posted_head) = co->posted_next;
    if (ctx->posted_tail == co) ctx->posted_tail = before;
    break;
  }
}

void drop_zombie(Co* parent, Co* co) {
  Co* before = nullptr;
  for (Co* i = parent->zombies; i; before = i, i = i->zombie_next) {
    if (i != co) continue;
    (before ? before->zombie_next : parent->zombies) = co->zombie_next;
    if (parent->zombies_tail == co) parent->zombies_tail = before;
    return;
  }
}

// Its light threads have no parent from now on.
void orphan_threads(LuaCtx* ctx, Co* parent) {
  for (Co* co = ctx->coroutines; co && parent->threads > 0; co = co->next) {
    if (!co->is_uthread || co->parent != parent) continue;
    co->parent = nullptr;
    --parent->threads;
  }
}

}  // namespace

Co* start_entry(LuaCtx* ctx, uint32_t phase) {
  int ref;
  lua_State* L = obtain_thread(ctx, &ref);
  lua_xmove(ctx->L(), L, 1);
  enter_phase(ctx, phase);
  return adopt_entry(ctx, L, ref);
}

Co* adopt_entry(LuaCtx* ctx, lua_State* L, int ref) {
  lua_setexdata(L, ctx->r);
  Co* co = make_co(ctx, L);
  co->ref = ref;
  ctx->entry = ctx->current = co;
  return co;
}

Co* new_coroutine(LuaCtx* ctx, lua_State* L, bool anchor) {
  lua_State* thread = lua_newthread(L);
  lua_setexdata(thread, ctx->r);
  Co* co = make_co(ctx, thread);
  co->status = Co::kSuspended;
  link(ctx, co);
  if (anchor) {
    lua_pushvalue(L, -1);
    co->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  lua_insert(L, -2);
  lua_xmove(L, thread, 1);
  return co;
}

void* dead_thread() {
  static Co none;
  return &none;
}

Co* co_of(LuaCtx* ctx, lua_State* L) {
  auto* co = static_cast<Co*>(lua_getexdata2(L));
  return co && co->L == L && co->ctx == ctx && co->side == ctx->side ? co : nullptr;
}

void cancel_pending(Co* co) {
  Pending* p = co->pending;
  if (!p) return;
  co->pending = nullptr;
  p->co = nullptr;
  if (co->ready) Scheduler::of(co->ctx->gen).drop_ready(co);
  p->cancel();
}

void free_coroutine(Co* co) {
  LuaCtx* ctx = co->ctx;
  Scheduler& s = Scheduler::of(ctx->gen);
  cancel_pending(co);
  if (co->ready) s.drop_ready(co);
  if (co->posted) drop_posted(ctx, co);
  if (co->threads) orphan_threads(ctx, co);
  if (co->parent) {
    if (co->is_uthread) {
      --co->parent->threads;
      if (co->status == Co::kZombie) drop_zombie(co->parent, co);
    } else if (co->parent->child == co) {
      co->parent->child = nullptr;
    }
  }
  bool entry = ctx->entry == co;
  unlink(ctx, co);
  if (ctx->current == co) ctx->current = nullptr;
  if (ctx->on_abort == co) ctx->on_abort = nullptr;
  if (entry) {
    release_thread(ctx, co->L, co->ref);
  } else if (co->ref != LUA_NOREF) {
    lua_setexdata2(co->L, dead_thread());
    luaL_unref(ctx->L(), LUA_REGISTRYINDEX, co->ref);
  }
  s.recycle(co);
}

void kill_thread(Co* co) {
  LuaCtx* ctx = co->ctx;
  if (co->child) kill_thread(co->child);
  cancel_pending(co);
  while (Co* zombie = co->zombies) {
    free_coroutine(zombie);
    --ctx->uthreads;
  }
  if (co->is_uthread) {
    --ctx->uthreads;
  } else {
    lua_setexdata2(co->L, nullptr);
  }
  free_coroutine(co);
}

void cleanup(LuaCtx* ctx) {
  ctx->posted_head = ctx->posted_tail = nullptr;
  ctx->on_abort = nullptr;
  // What is cancelled may look at others: first all waits end, then the coroutines go.
  for (Co* co = ctx->coroutines; co; co = co->next) {
    co->posted = false;
    cancel_pending(co);
  }
  if (ctx->entry) {
    ctx->entry->posted = false;
    cancel_pending(ctx->entry);
  }
  for (Co* co = ctx->coroutines; co; co = co->next) {
    co->threads = 0;
    co->parent = nullptr;
  }
  while (ctx->coroutines) free_coroutine(ctx->coroutines);
  if (ctx->entry) {
    ctx->entry->threads = 0;
    free_coroutine(ctx->entry);
  }
  ctx->uthreads = 0;
  ctx->current = nullptr;
}

void reset(LuaCtx* ctx) {
  cleanup(ctx);
  ctx->entered_rewrite = ctx->entered_access = ctx->entered_precontent = ctx->entered_content =
      ctx->entered_server_rewrite = false;
  ctx->exited = false;
  ctx->exit_code = 0;
  ctx->exec_uri = ctx->exec_args = Str();
  ctx->op = LuaCtx::kNop;
}

void post_thread(LuaCtx* ctx, Co* co) {
  if (co->posted) return;
  co->posted = true;
  co->posted_next = nullptr;
  (ctx->posted_tail ? ctx->posted_tail->posted_next : ctx->posted_head) = co;
  ctx->posted_tail = co;
}

}  // namespace moonphase::engine
