// The one loop that resumes coroutines: what each of them yielded for or ended with decides which
// goes on.
#include "engine/scheduler.h"

#include <cstdlib>
#include <optional>

#include "engine/lifecycle.h"
#include "engine/side_run.h"
#include "http/connection.h"
#include "lua/call.h"

namespace moonphase::engine {

namespace {

// What the loop does next: resume ctx->current with `value` arguments, or return `value`.
struct Next {
  bool resume;
  int value;
};
Next go_on(LuaCtx* ctx, Co* co, int nargs) {
  ctx->current = co;
  co->status = Co::kRunning;
  return {true, nargs};
}
Next stop(LuaCtx* ctx, int rc) {
  ctx->current = nullptr;
  return {false, rc};
}

// An error on its way up: of the coroutine that died first.
struct Failure {
  const char* kind = nullptr;
  std::string message, traceback;
};

bool sent_header(const LuaCtx* ctx) { return ctx->r->header_sent || ctx->header_sent; }

bool closes_silently(int status) { return status == 408 || status == 499 || status == 444; }

void keep_ctx(LuaCtx* ctx) {
  // Unless the error page has one that a filter waits in.
  if (ctx->r->filter_finalize && !ctx->r->output_held) ctx->r->lua = ctx;
}

int rewrite_jump(LuaCtx* ctx) {
  MOONPHASE_LOG(ctx->r, kLogDebug, 0,
                "lua thread aborting request with URI rewrite jump: \"%.*s?%.*s\"",
                STR(ctx->r->uri), STR(ctx->r->args));
  keep_ctx(ctx);
  restart(ctx);
  return kOk;
}

void stop_watching(Request* r) {
  r->write_event_handler = empty_handler;
  r->read_event_handler = http::block_reading;
}

int exec(LuaCtx* ctx) {
  Request* r = ctx->r;
  MOONPHASE_LOG(r, kLogDebug, 0, "lua thread initiated internal redirect to %.*s",
                STR(ctx->exec_uri));
  keep_ctx(ctx);
  cleanup(ctx);
  stop_watching(r);
  Str uri = ctx->exec_uri, args = ctx->exec_args;
  if (uri[0] != '@') return internal_redirect(r, uri, args);
  if (!args.empty())
    MOONPHASE_LOG(r, kLogWarn, 0, "query strings %.*s ignored when exec'ing named location %.*s",
                  STR(args), STR(uri));
  r->lua = nullptr;
  for (void*& c : r->ctx) c = nullptr;
  return named_location(r, uri);
}

int exit_thread(LuaCtx* ctx) {
  Request* r = ctx->r;
  int code = ctx->exit_code;
  MOONPHASE_LOG(r, kLogDebug, 0, "lua thread aborting request with status %d", code);
  keep_ctx(ctx);
  cleanup(ctx);
  if (ctx->fake || ctx->side) return code;
  if (!sent_header(ctx) && r->headers_out.status == 0 && code >= 200) r->headers_out.status = code;
  if (ctx->buffering && r->headers_out.status && code != kError && !closes_silently(code)) {
    int rc = lua_send_chain(ctx, nullptr);
    if (rc == kError || rc >= 300) return rc;
    return code >= 200 ? 200 : code;
  }
  if ((code == kOk && ctx->entered_content) || (code >= 200 && code < 300 && code != 204)) {
    int rc = lua_send_chain(ctx, nullptr);
    if (rc == kError || rc >= 300) return rc;
  }
  if (sent_header(ctx) && code > kOk && !closes_silently(code))
    return ctx->entered_content ? kOk : 200;
  return code;
}

// All coroutines have ended by themselves.
int done(LuaCtx* ctx) {
  if (ctx->entered_content && !ctx->fake) {
    int rc = lua_send_chain(ctx, nullptr);
    if (rc == kError || rc >= 300) return rc;
  }
  return kOk;
}

// A light thread with nobody to wait for it is gone.
Next bury(LuaCtx* ctx, Co* thread) {
  free_coroutine(thread);
  --ctx->uthreads;
  if (ctx->uthreads == 0 && !ctx->entry) return stop(ctx, done(ctx));
  return stop(ctx, kAgain);
}

Next no_parent(LuaCtx* ctx) {
  keep_ctx(ctx);
  cleanup(ctx);
  MOONPHASE_LOG(ctx->r, kLogErr, 0, "lua handler aborted: user coroutine has no parent");
  return stop(ctx, sent_header(ctx) ? kError : 500);
}

// Moves the top `n` values to the parent, which goes on: coroutine.resume and ngx.thread.wait
// return there.
Next deliver(LuaCtx* ctx, Co* co, bool ok, int n) {
  Co* parent = co->parent;
  if (!parent) return no_parent(ctx);
  if (!co->is_wrap) lua_pushboolean(parent->L, ok);
  lua_xmove(co->L, parent->L, n);
  if (!co->is_wrap) ++n;
  if (co->is_uthread) {
    if (parent->threads > 1)
      for (Co* other = ctx->coroutines; other; other = other->next)
        if (other->parent == parent) other->waited_by_parent = false;
    --ctx->uthreads;
  } else {
    lua_setexdata2(co->L, nullptr);  // whoever still has it has a dead coroutine
  }
  free_coroutine(co);
  return go_on(ctx, parent, n);
}

// A light thread has ended before its parent waits for it: the top `n` values stay.
Next keep_zombie(LuaCtx* ctx, Co* co, bool ok, int n) {
  Co* parent = co->parent;
  lua_pushboolean(co->L, ok);
  lua_insert(co->L, -n - 1);
  co->nresults = n + 1;
  co->status = Co::kZombie;
  co->zombie_next = nullptr;
  (parent->zombies_tail ? parent->zombies_tail->zombie_next : parent->zombies) = co;
  parent->zombies_tail = co;
  return stop(ctx, kAgain);
}

Next end_thread(LuaCtx* ctx, Co* co, bool ok, int n) {
  if (!alive(co->parent)) return bury(ctx, co);
  if (co->waited_by_parent) return deliver(ctx, co, ok, n);
  return keep_zombie(ctx, co, ok, n);
}

Next ended(LuaCtx* ctx, Co* co) {
  cancel_pending(co);
  co->status = Co::kDead;
  while (Co* zombie = co->zombies) {
    free_coroutine(zombie);
    --ctx->uthreads;
  }
  if (co == ctx->entry) {
    if (ctx->side) keep_side_result(ctx, co->L);
    if (ctx->watch) ctx->watch->ended(ctx, co->L);
    free_coroutine(co);
    if (ctx->uthreads) return stop(ctx, kAgain);
    return stop(ctx, done(ctx));
  }
  int n = lua_gettop(co->L);
  if (co->is_uthread) return end_thread(ctx, co, true, n);
  return deliver(ctx, co, true, n);
}

Next user_yield(LuaCtx* ctx, Co* co) {
  if (co->is_uthread || co == ctx->entry) {
    // There is nobody to give values to: the others get their turn.
    lua_settop(co->L, 0);
    co->status = Co::kRunning;
    if (!ctx->posted_head) return go_on(ctx, co, 0);
    post_thread(ctx, co);
    return stop(ctx, kAgain);
  }
  Co* parent = co->parent;
  if (!parent) return no_parent(ctx);
  int n = lua_gettop(co->L);
  co->status = Co::kSuspended;
  co->parent = nullptr;
  parent->child = nullptr;
  if (!co->is_wrap) lua_pushboolean(parent->L, 1);
  lua_xmove(co->L, parent->L, n);
  return go_on(ctx, parent, n + !co->is_wrap);
}

Next yielded(LuaCtx* ctx) {
  if (ctx->r->uri_changed && !ctx->side) return stop(ctx, rewrite_jump(ctx));
  if (ctx->exited) return stop(ctx, exit_thread(ctx));
  if (!ctx->exec_uri.empty()) return stop(ctx, exec(ctx));
  LuaCtx::Op op = ctx->op;
  ctx->op = LuaCtx::kNop;
  switch (op) {
    case LuaCtx::kNop:
      return stop(ctx, kAgain);  // an operation of ours: its event goes on
    case LuaCtx::kResume:
    case LuaCtx::kSpawn:
      return go_on(ctx, ctx->current, ctx->op_args);
    case LuaCtx::kYield:
      break;
  }
  return user_yield(ctx, ctx->current);
}

const char* error_kind(LuaCtx* ctx, int status) {
  switch (status) {
    case LUA_ERRRUN:
      return "runtime error";
    case LUA_ERRSYNTAX:
      return "syntax error";
    case LUA_ERRERR:
      return "error handler error";
    case LUA_ERRMEM:
      if (ctx->gen->limits) return "memory allocation error";
      MOONPHASE_LOG(ctx->r, kLogAlert, 0, "[lua] memory allocation error");
      abort();
    default:
      return "unknown error";
  }
}

void describe(LuaCtx* ctx, Co* co, int status, Failure* failure) {
  lua_State* chain[lua::kTracebackCoroutines];
  int n = 0;
  for (Co* i = co; i && n < lua::kTracebackCoroutines; i = i->parent) {
    chain[n++] = i->L;
    if (i->parent && i->parent->status == Co::kDead) break;
  }
  lua_State* L = ctx->L();
  lua::push_traceback(L, chain, n);
  failure->kind = error_kind(ctx, status);
  failure->message = lua::error_text(co->L, "unknown reason");
  failure->traceback = lua::error_text(L, "");
  lua_pop(L, 1);
}

// What error("text") throws begins with its place; ngx.thread.wait gives the bare text, as it
// always has: it was the first thing on the thread's stack.
void strip_position(lua_State* L) {
  if (lua_gettop(L) < 2 || lua_type(L, 1) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING) return;
  Str bare(lua_tostring(L, 1), lua_objlen(L, 1)), full(lua_tostring(L, -1), lua_objlen(L, -1));
  if (full.ends_with(bare)) lua_pushvalue(L, 1);
}

// `co` has died of an error, its value is on the top of its stack.
Next failed(LuaCtx* ctx, Co* co, const Failure& failure) {
  cancel_pending(co);
  co->status = Co::kDead;
  if (co->is_uthread) {
    MOONPHASE_LOG(ctx->r, kLogErr, 0, "lua user thread aborted: %s: %s\n%s", failure.kind,
                  failure.message.c_str(), failure.traceback.c_str());
    strip_position(co->L);
    return end_thread(ctx, co, false, 1);
  }
  if (co == ctx->entry) {
    if (ctx->watch) {
      ctx->watch->failed(ctx, co->L);
    } else if (ctx->init) {
      ctx->init->error = failure.message + "\n" + failure.traceback;
    } else if (ctx->side) {
      fail_side(ctx, failure.kind, failure.message + "\n" + failure.traceback);
    } else {
      MOONPHASE_LOG(ctx->r, kLogErr, 0, "lua entry thread aborted: %s: %s\n%s", failure.kind,
                    failure.message.c_str(), failure.traceback.c_str());
    }
    keep_ctx(ctx);
    cleanup(ctx);
    if (ctx->no_abort) {
      ctx->no_abort = false;
      return stop(ctx, kError);
    }
    return stop(ctx, ctx->side || sent_header(ctx) ? kError : 500);
  }
  if (co->is_wrap && co->parent) {
    // coroutine.wrap: the parent dies of the same.
    Co* parent = co->parent;
    lua_settop(parent->L, 0);
    lua_xmove(co->L, parent->L, 1);
    parent->propagate_error = true;
    lua_setexdata2(co->L, nullptr);
    free_coroutine(co);
    return go_on(ctx, parent, 0);
  }
  return deliver(ctx, co, false, 1);
}

// With MOONPHASE_GC_STRESS=1, in debug and sanitizer builds: whatever only the collector keeps us
// from seeing is gone when a coroutine waits.
#ifdef MOONPHASE_CHECKED
void stress(LuaCtx* ctx) {
  static const bool on = [] {
    const char* value = getenv("MOONPHASE_GC_STRESS");
    return value && *value == '1';
  }();
  if (on) lua_gc(ctx->L(), LUA_GCCOLLECT, 0);
}
#else
void stress(LuaCtx*) {}
#endif

int resume(LuaCtx* ctx, Co* co, int nargs, bool goes_on) {
  RunningLua running(ctx->gen, co->L, nargs, ctx->r->conn, goes_on);
  int status = lua::resume(co->L, nargs);
  if (status == LUA_YIELD) stress(ctx);
  return status;
}

constexpr int kNotResumed = -1;

// `status`: of ctx->current, where that was resumed already. `goes_on`: see RunningLua.
int run_thread(LuaCtx* ctx, int nargs, int status, bool goes_on) {
  std::optional<Failure> failure;
  if (ctx->current->thread_spawn_yielded) {
    ctx->current->thread_spawn_yielded = false;
    nargs = 1;  // what ngx.thread.spawn left there
  }
  for (;;) {
    Co* co = ctx->current;
    Next next;
    if (co->propagate_error) {
      co->propagate_error = false;
      next = failed(ctx, co, failure ? *failure : failure.emplace());
    } else {
      if (status == kNotResumed) status = resume(ctx, co, nargs, goes_on);
      if (status == LUA_YIELD) {
        next = yielded(ctx);
      } else if (status == 0) {
        next = ended(ctx, co);
      } else {
        ctx->current = co;
        ctx->op = LuaCtx::kNop;
        if (co->is_uthread || co->is_wrap || co == ctx->entry)
          describe(ctx, co, status, &failure.emplace());
        if (status == LUA_ERRMEM) error_kind(ctx, status);
        next = failed(ctx, co, failure ? *failure : failure.emplace());
      }
    }
    if (!next.resume) return next.value;
    nargs = next.value;
    status = kNotResumed;
    goes_on = true;
  }
}

// What follows from a coroutine's run after an event.
void go_on_or_finish(LuaCtx* ctx, int nargs, int status) {
  CtxGuard guard(ctx);
  auto finish = ctx->finish;  // a rewrite's jump begins the context anew
  int rc = run_thread(ctx, nargs, status, false);
  if (!guard.alive()) return;
  if (rc == kDone) lua_finalize(ctx, kDone);
  if (rc == kAgain || rc == kDone) {
    if (!guard.alive()) return;
    rc = run_posted_threads(ctx);
  }
  if (guard.alive() && rc != kDone) finish(ctx, rc);
}

}  // namespace

int run_thread(LuaCtx* ctx, int nargs) { return run_thread(ctx, nargs, kNotResumed, false); }

int run_posted_threads(LuaCtx* ctx) {
  CtxGuard guard(ctx);
  while (guard.alive() && ctx->posted_head) {
    Co* co = ctx->posted_head;
    ctx->posted_head = co->posted_next;
    if (!ctx->posted_head) ctx->posted_tail = nullptr;
    co->posted = false;
    if (co->status != Co::kRunning) continue;
    ctx->current = co;
    int rc = run_thread(ctx, 0, kNotResumed, true);
    if (rc == kDone && guard.alive()) lua_finalize(ctx, kDone);
    if (rc != kAgain && rc != kDone) return rc;
  }
  return kDone;
}

void resume_co(Co* co, int nargs) {
  if (co->side) {
    resume_side(co, nargs);
    return;
  }
  co->ctx->current = co;
  go_on_or_finish(co->ctx, nargs, kNotResumed);
}

int resume_entry(Co* co, int nargs) {
  co->ctx->current = co;
  return resume(co->ctx, co, nargs, false);
}

void after_entry(Co* co, int status) { go_on_or_finish(co->ctx, 0, status); }

bool entry_idle(const Co* co) {
  const LuaCtx* ctx = co->ctx;
  return !ctx->coroutines && !ctx->uthreads && !ctx->posted_head && !ctx->on_abort &&
         !co->pending && !co->zombies && ctx->ctx_ref == LUA_NOREF;
}

void lua_finalize(LuaCtx* ctx, int rc) {
  if (ctx->fake) {
    finish_fake_request(ctx->r);
  } else {
    finalize_request(ctx->r, rc);
  }
}

}  // namespace moonphase::engine
