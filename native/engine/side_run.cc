#include "engine/side_run.h"

#include <utility>

#include "engine/lifecycle.h"
#include "engine/scheduler.h"

namespace moonphase::engine {

namespace {

// Its run comes into place, and what was there is kept; or the other way round.
void exchange(SideRun* s) { std::swap(static_cast<Run&>(*s->ctx), s->run); }

// To all but the header filter itself the header counts as sent while that waits.
void show_header(LuaCtx* ctx, bool sent) {
  Request* r = ctx->r;
  r->header_held = r->header_sent = ctx->header_sent = sent;
  if (r->method == http::kHead) r->header_only = sent;
}

// kAgain: waits, and is out of place.
int run(SideRun* s, int nargs) {
  LuaCtx* ctx = s->ctx;
  CtxGuard guard(ctx);
  int rc = run_thread(ctx, nargs);
  if (guard.alive() && (rc == kAgain || rc == kDone)) rc = run_posted_threads(ctx);
  if (!guard.alive()) return kDone;
  if (rc != kAgain && rc != kDone) return rc;
  if (ctx->phase == kPhaseHeaderFilter) show_header(ctx, true);
  exchange(s);
  return kAgain;
}

}  // namespace

ExtendedState* extended_state(LuaCtx* ctx) {
  if (!ctx->extended) ctx->extended = ctx->r->pool->make<ExtendedState>();
  return ctx->extended;
}

SideRun* open_side(LuaCtx* ctx, uint32_t phase, void (*ended)(SideRun*, int rc)) {
  ExtendedState* x = extended_state(ctx);
  SideRun* s = x->spare;
  if (s) {
    x->spare = s->next;
    *s = SideRun();
  } else {
    s = ctx->r->pool->make<SideRun>();
  }
  s->ctx = ctx;
  s->ended = ended;
  s->next = x->sides;
  if (s->next) s->next->prev = s;
  x->sides = s;
  exchange(s);
  ctx->side = s;
  enter_phase(ctx, phase);
  return s;
}

void close_side(SideRun* s) {
  LuaCtx* ctx = s->ctx;
  cleanup(ctx);
  exchange(s);
  ExtendedState* x = ctx->extended;
  if (s->next) s->next->prev = s->prev;
  (s->prev ? s->prev->next : x->sides) = s->next;
  s->next = x->spare;
  x->spare = s;
}

void abort_side(SideRun* s) {
  if (s->ctx->side != s) exchange(s);
  close_side(s);
}

int begin_side(SideRun* s, int nargs) {
  LuaCtx* ctx = s->ctx;
  int ref;
  lua_State* co = obtain_thread(ctx, &ref);
  lua_checkstack(co, nargs + 1);
  lua_xmove(ctx->L(), co, nargs + 1);
  adopt_entry(ctx, co, ref);
  return run(s, nargs);
}

void resume_side(Co* co, int nargs) {
  SideRun* s = co->side;
  LuaCtx* ctx = s->ctx;
  exchange(s);
  ctx->current = co;
  if (ctx->phase == kPhaseHeaderFilter) show_header(ctx, false);
  int rc = run(s, nargs);
  if (rc != kAgain && rc != kDone) s->ended(s, rc);
}

InPlace::InPlace(SideRun* s) : side_(s && s->ctx->side != s ? s : nullptr) {
  if (!side_) return;
  exchange(side_);
  if (side_->ctx->phase == kPhaseHeaderFilter) show_header(side_->ctx, false);
}

InPlace::~InPlace() {
  if (!side_) return;
  if (side_->ctx->phase == kPhaseHeaderFilter) show_header(side_->ctx, true);
  exchange(side_);
}

void keep_side_result(LuaCtx* ctx, lua_State* L) {
  SideRun* s = ctx->side;
  if (lua_gettop(L) == 0) return;
  if (ctx->phase == kPhaseBodyFilter) s->code = static_cast<int>(lua_tointeger(L, 1));
  if (ctx->phase != kPhaseSet) return;
  size_t n = 0;
  const char* text = lua_tolstring(L, 1, &n);
  if (text) s->value = ctx->r->pool->copy(Str(text, n));
}

void fail_side(LuaCtx* ctx, const char* kind, const std::string& text) {
  ctx->side->failed = true;
  if (ctx->phase & (kPhaseProxySslCert | kPhaseProxySslVerify)) {
    MOONPHASE_LOG(ctx->r, kLogErr, 0, "lua entry thread aborted: %s: %s", kind, text.c_str());
    return;
  }
  const PhaseRow* row = phase_row(ctx->phase);
  MOONPHASE_LOG(ctx->r, kLogErr, 0, "failed to run %s: %s", row->directive, text.c_str());
}

void end_sides(LuaCtx* ctx, uint32_t except) {
  if (!ctx->extended) return;
  for (SideRun* s = ctx->extended->sides; s; s = s->next) {
    exchange(s);
    if (!(ctx->phase & except)) cleanup(ctx);
    exchange(s);
  }
}

void end_all_but_log(http::Request* main) {
  for (auto* ctx = static_cast<LuaCtx*>(main->lua_contexts); ctx; ctx = ctx->next_of_main) {
    if (ctx->phase != kPhaseLog) cleanup(ctx);
    end_sides(ctx, kPhaseLog);
  }
}

}  // namespace moonphase::engine
