// Phases that run a coroutine and may wait: server_rewrite, rewrite, access, precontent, content.
#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "http/body.h"
#include "http/connection.h"

namespace moonphase::engine {

namespace {

// A phase in which coroutines run: how its end becomes the phase handler's answer, now or after a
// wait.
struct PhaseEntry {
  const char* name;
  uint32_t bit;
  bool LuaCtx::*entered;
  int (*outcome)(LuaCtx*, int rc);
  void (*finish)(LuaCtx*, int rc);
};

bool answered(const LuaCtx* ctx) {
  return ctx->r->header_sent || (ctx->r->headers_out.status != 0 && ctx->out);
}

// The answer has begun in this phase: no later one may make another.
int end_answer(LuaCtx* ctx) {
  if (!ctx->eof) {
    int rc = lua_send_chain(ctx, nullptr);
    if (rc == kError || rc > kOk) return rc;
  }
  return 200;
}

int rewrite_outcome(LuaCtx* ctx, int rc, bool LuaCtx::*entered) {
  if (rc != kOk && rc != kDeclined) return rc;
  if (answered(ctx)) return end_answer(ctx);
  ctx->r->write_event_handler = run_phases;
  ctx->*entered = false;
  return kDeclined;
}
int rewrite_outcome(LuaCtx* ctx, int rc) {
  return rewrite_outcome(ctx, rc, &LuaCtx::entered_rewrite);
}
int server_rewrite_outcome(LuaCtx* ctx, int rc) {
  return rewrite_outcome(ctx, rc, &LuaCtx::entered_server_rewrite);
}

int access_outcome(LuaCtx* ctx, int rc) {
  if (rc == kError || rc == kDone || rc > kOk) return rc;
  if (rc != kOk) return kDeclined;
  if (answered(ctx)) return end_answer(ctx);
  ctx->r->write_event_handler = run_phases;
  return kOk;
}

int precontent_outcome(LuaCtx* ctx, int rc) {
  rc = access_outcome(ctx, rc);
  return rc == kOk ? int{kDeclined} : rc;
}

template <int (*Outcome)(LuaCtx*, int)>
void finish_phase(LuaCtx* ctx, int rc) {
  Request* r = ctx->r;
  rc = Outcome(ctx, rc);
  resume_phase(r, rc);
}

void finish_content(LuaCtx* ctx, int rc) { finalize_request(ctx->r, rc); }

constexpr PhaseEntry kServerRewrite{"server rewrite", kPhaseServerRewrite,
                                    &LuaCtx::entered_server_rewrite, server_rewrite_outcome,
                                    finish_phase<server_rewrite_outcome>};
constexpr PhaseEntry kRewrite{"rewrite", kPhaseRewrite, &LuaCtx::entered_rewrite, rewrite_outcome,
                              finish_phase<rewrite_outcome>};
constexpr PhaseEntry kAccess{"access", kPhaseAccess, &LuaCtx::entered_access, access_outcome,
                             finish_phase<access_outcome>};
constexpr PhaseEntry kPrecontent{"precontent", kPhasePrecontent, &LuaCtx::entered_precontent,
                                 precontent_outcome, finish_phase<precontent_outcome>};
constexpr PhaseEntry kContent{"content", kPhaseContent, &LuaCtx::entered_content, nullptr,
                              finish_content};

bool waits(const LuaCtx* ctx) { return ctx->entry || ctx->uthreads > 0; }

// The handler's function is on the VM's stack: makes the coroutine that will run it.
void begin(LuaCtx* ctx, const PhaseEntry& phase) {
  reset(ctx);
  ctx->*phase.entered = true;
  ctx->finish = phase.finish;
  start_entry(ctx, phase.bit);
  if (loc(ctx->r)->lua.check_client_abort) {
    lua_watch_client(ctx);
  } else {
    ctx->r->read_event_handler = http::block_reading;
  }
}

int run_chunk(LuaCtx* ctx, const PhaseEntry& phase) {
  begin(ctx, phase);
  Request* r = ctx->r;
  CtxGuard guard(ctx);
  int rc = run_thread(ctx, 0);
  if (rc == kError || rc > kOk) return rc;
  if (rc == kDone) {
    finalize_request(r, kDone);
    if (!guard.alive()) return kDone;
  }
  if (rc == kAgain || rc == kDone) {
    rc = run_posted_threads(ctx);
    if (!guard.alive()) return kDone;
  }
  if (rc == kDone) {
    if (waits(ctx)) r->write_event_handler = lua_write_event;
    return kDone;
  }
  return phase.outcome(ctx, rc);
}

// Posted coroutines of the content phase: `references` are those that redirects have taken for the
// request. The caller, nginx's content checker, drops one for kDone.
int run_posted_content(LuaCtx* ctx, int references) {
  Request* r = ctx->r;
  while (ctx->posted_head) {
    Co* co = ctx->posted_head;
    ctx->posted_head = co->posted_next;
    if (!ctx->posted_head) ctx->posted_tail = nullptr;
    co->posted = false;
    if (co->status != Co::kRunning) continue;
    ctx->current = co;
    int rc = run_thread(ctx, 0);
    if (rc == kAgain) continue;
    if (rc == kDone) {
      ++references;
      continue;
    }
    if (rc == kOk)
      for (; references > 0; --references) finalize_request(r, kDone);
    return rc;
  }
  if (references == 0) {
    ++r->main->count;
    r->write_event_handler = lua_write_event;
    return kDone;
  }
  for (; references > 1; --references) finalize_request(r, kDone);
  return kDone;
}

int run_content(LuaCtx* ctx) {
  begin(ctx, kContent);
  int rc = run_thread(ctx, 0);
  if (rc == kAgain) return run_posted_content(ctx, 0);
  if (rc == kDone) return run_posted_content(ctx, 1);
  return rc == kError || rc > kOk ? rc
                                  : int{kOk};  // ngx.exit(ngx.DECLINED) has no handler to go on to
}

// --- lua_need_request_body ---

void body_read(Request* r) {
  LuaCtx* ctx = ctx_of(r);
  --r->main->count;
  if (!ctx) return;
  ctx->read_body_done = true;
  if (!ctx->waiting_more_body) return;
  ctx->waiting_more_body = false;
  run_phases(r);
}

void content_body_read(Request* r) {
  LuaCtx* ctx = ctx_of(r);
  ctx->read_body_done = true;
  if (ctx->waiting_more_body) {
    ctx->waiting_more_body = false;
    finalize_request(r, lua_content_handler(r));
  } else {
    --r->main->count;
  }
}

// kOk: it is there; kDone: it will come; an error.
int need_body(LuaCtx* ctx, void (*done)(Request*)) {
  Request* r = ctx->r;
  if (!loc(r)->lua.need_request_body || ctx->read_body_done) return kOk;
  r->request_body_in_single_buf = true;
  r->request_body_in_persistent_file = true;
  r->request_body_in_clean_file = true;
  int rc = http::read_body(r, done);
  if (rc == kError || rc >= 300) return rc;
  if (rc != kAgain) return kOk;
  ctx->waiting_more_body = true;
  return kDone;
}

int run_phase(Request* r, const Handler* h, const PhaseEntry& phase) {
  if (!h) return kDeclined;
  MOONPHASE_LOG(r, kLogDebug, 0, "lua %s handler, uri:\"%.*s\" c:%d", phase.name, STR(r->uri),
                r->main->count);
  LuaCtx* ctx = lua_ctx(r);
  if (!ctx) return 500;
  if (ctx->*phase.entered && ctx->phase == phase.bit && waits(ctx)) {
    lua_write_event(r);
    return kDone;
  }
  if (ctx->waiting_more_body) return kDone;
  bool content = &phase == &kContent;
  // A server's own phase has no such directive.
  if (&phase != &kServerRewrite) {
    int rc = need_body(ctx, content ? content_body_read : body_read);
    if (rc != kOk) return rc;
  }
  if (content) ctx->entered_content = true;
  int rc = push_handler(ctx, h);
  if (rc != kOk) return rc < 300 ? 500 : rc;
  return content ? run_content(ctx) : run_chunk(ctx, phase);
}

}  // namespace

int lua_server_rewrite_handler(Request* r) {
  if (r->uri_changed) return kDeclined;
  auto* server = static_cast<const ServerConf*>(r->srv);
  const LocConf* conf = loc(r);
  const HandlerPtr& h =
      server && server->server_rewrite ? server->server_rewrite : conf->lua.server_rewrite;
  return run_phase(r, h.get(), kServerRewrite);
}

int lua_rewrite_handler(Request* r) {
  if (r->uri_changed) return kDeclined;
  return run_phase(r, loc(r)->lua.rewrite.get(), kRewrite);
}

int lua_access_handler(Request* r) { return run_phase(r, loc(r)->lua.access.get(), kAccess); }

int lua_precontent_handler(Request* r) {
  return run_phase(r, loc(r)->lua.precontent.get(), kPrecontent);
}

int lua_content_handler(Request* r) { return run_phase(r, loc(r)->lua.content.get(), kContent); }

}  // namespace moonphase::engine
