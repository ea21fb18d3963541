// Filters that wait. The call that produced the output waits for them (ngx.say and its kin); where
// it cannot, what it sends is queued in order: before all filters while a header filter waits,
// before Lua's while a body filter does.
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/side_run.h"
#include "http/body.h"
#include "http/connection.h"
#include "http/output.h"

namespace moonphase::engine {

struct OutputWait final : public Pending {
  explicit OutputWait(LuaCtx* c) : ctx(c) {
    OutputWait** end = &c->extended->waiting;
    while (*end) end = &(*end)->next;
    *end = this;
  }
  void unlink() {
    for (OutputWait** p = &ctx->extended->waiting; *p; p = &(*p)->next)
      if (*p == this) {
        *p = next;
        return;
      }
  }
  int results(lua_State* L) override {
    int n = 1;
    if (failed) {
      lua_pushnil(L);
      lua_pushliteral(L, "nginx output filter error");
      n = 2;
    } else {
      lua_pushinteger(L, 1);
    }
    delete this;
    return n;
  }
  void cancel() override {
    unlink();
    delete this;
  }
  LuaCtx* ctx;
  OutputWait* next = nullptr;
  bool failed = false;
};

namespace {

void consume(Chain* in) {
  for (; in; in = in->next) {
    in->buf->pos = in->buf->last;
    in->buf->file_pos = in->buf->file_last;
  }
}

void consume(http::HeldChunk* chunk) {
  for (; chunk; chunk = chunk->next) consume(chunk->in);
}

bool held(const Request* r, const ExtendedState* x) { return r->header_held || x->body; }

void hold(LuaCtx* ctx) {
  Request* r = ctx->r;
  r->output_held = ctx;
  r->buffered_bits |= http::kLuaBuffered;
  // What waits for the client waits for the filter now.
  if (!r->conn->write_delayed) r->conn->set_write_timeout(0);
}

// Filters are through: whoever waits for that goes on.
void settle(LuaCtx* ctx) {
  Request* r = ctx->r;
  ExtendedState* x = ctx->extended;
  if (held(r, x)) return;
  r->output_held = nullptr;
  r->buffered_bits &= ~http::kLuaBuffered;
  bool failed = x->failed;
  x->failed = false;
  OutputWait* last = x->waiting;
  while (last && last->next) last = last->next;
  if (last) {
    CtxGuard guard(ctx);
    // Those that begin to wait now are behind `last`.
    for (bool more = true; more && guard.alive() && x->waiting;) {
      OutputWait* w = x->waiting;
      more = w != last;
      w->unlink();
      w->failed = failed;
      wake(w);
    }
    if (!guard.alive() || r->output_held) return;
    if (ctx->flushing) post_request(r);
  }
  if (x->ends) {
    x->ends = false;
    finalize_request(r, failed ? int{kError} : x->end_code);
    return;
  }
  if (last) return;
  if (failed) r->conn->error = true;
  if (r->write_event_handler != run_phases && r->write_event_handler != start_request)
    post_request(r);
}

// --- header ---

// Gives the interrupted run back. kOk: the next filters' turn; kDeclined: ngx.exit has answered
// instead; kError, kAgain.
int finish_header(SideRun* s, int rc) {
  LuaCtx* ctx = s->ctx;
  bool exited = ctx->exited, failed = s->failed;
  int code = ctx->exit_code;
  close_side(s);
  if (failed) return kError;
  if (!exited) return rc == kOk ? int{kOk} : int{kError};
  int before = ctx->exited ? ctx->exit_code : 0;
  ctx->exited = true;
  ctx->exit_code = code;
  if (code == before) return kOk;
  if (code == kError) return kError;
  rc = filter_finalize(ctx->r, code, true);
  return rc == kError || rc == kAgain ? rc : int{kDeclined};
}

void header_ended(SideRun* s, int rc) {
  LuaCtx* ctx = s->ctx;
  Request* r = ctx->r;
  ExtendedState* x = ctx->extended;
  if (r->main->terminated) {
    close_side(s);
    return;
  }
  CtxGuard guard(ctx);
  http::HeldChunk* chunk = r->held;
  r->held = nullptr;
  rc = finish_header(s, rc);
  if (!guard.alive()) return;
  if (rc == kOk) {
    rc = http::next_header(r, http::Slot::kLua);
    if (rc != kError && rc <= kOk && !r->header_only) {
      for (; chunk && rc != kError; chunk = chunk->next) rc = http::output(r, chunk->in);
    }
  } else {
    rc = kError;  // an error page has taken the answer's place, or nothing can be sent
  }
  if (!guard.alive()) return;
  consume(chunk);
  ctx->header_sent = true;
  if (rc == kError || rc > kOk) x->failed = true;
  settle(ctx);
}

// --- body ---

int finish_body(SideRun* s) {
  LuaCtx* ctx = s->ctx;
  Request* r = ctx->r;
  bool failed = s->failed || s->code == kError || s->code >= 300;
  Chain* out = ctx->filter_in;
  close_side(s);
  if (failed) return kError;
  if (!out) return kOk;  // swallowed
  int rc = http::next_body(r, http::Slot::kLua, out);
  if (rc != kError) lua_update_chains(ctx, &ctx->filter_busy, out, &kLuaFilterTag);
  return rc;
}

void body_ended(SideRun* s, int rc);

int pump(LuaCtx* ctx) {
  Request* r = ctx->r;
  ExtendedState* x = ctx->extended;
  int rc = kOk;
  while (http::HeldChunk* chunk = x->chunks) {
    x->chunks = chunk->next;
    if (ctx->seen_last_in_filter) {
      consume(chunk->in);
      continue;
    }
    if (push_handler(ctx, loc(r)->lua.body_filter.get()) != kOk) return kError;
    SideRun* s = open_side(ctx, kPhaseBodyFilter, body_ended);
    ctx->filter_in = chunk->in;
    rc = begin_side(s, 0);
    if (rc == kDone) return kError;
    if (rc == kAgain) {
      x->body = s;
      hold(ctx);
      return kAgain;
    }
    rc = finish_body(s);
    if (rc == kError) return kError;
  }
  return rc;
}

void body_ended(SideRun* s, int) {
  LuaCtx* ctx = s->ctx;
  Request* r = ctx->r;
  ExtendedState* x = ctx->extended;
  if (r->main->terminated) {
    close_side(s);
    return;
  }
  CtxGuard guard(ctx);
  x->body = nullptr;
  int rc = finish_body(s);
  if (rc != kError && guard.alive()) rc = pump(ctx);
  if (!guard.alive()) return;
  if (rc == kError) {
    r->conn->error = true;
    x->failed = true;
  }
  settle(ctx);
}

}  // namespace

int extended_header_filter(LuaCtx* ctx, const Handler* h) {
  Request* r = ctx->r;
  if (push_handler(ctx, h) != kOk) return kError;
  SideRun* s = open_side(ctx, kPhaseHeaderFilter, header_ended);
  int rc = begin_side(s, 0);
  if (rc == kDone) return kError;
  if (rc == kAgain) {
    hold(ctx);
    return kAgain;
  }
  rc = finish_header(s, rc);
  // An error page is on its way, and its own header filter waits.
  return rc == kAgain && r->output_held ? int{kError} : rc;
}

int extended_body_filter(LuaCtx* ctx, Chain* in) {
  Request* r = ctx->r;
  ExtendedState* x = extended_state(ctx);
  if (ctx->seen_last_in_filter) {
    consume(in);
    in = nullptr;
  }
  if (in) {
    auto* chunk = r->pool->make<http::HeldChunk>();
    chain_add_copy(*r->pool, &chunk->in, in);
    http::HeldChunk** end = &x->chunks;
    while (*end) end = &(*end)->next;
    *end = chunk;
  }
  if (x->body) return kAgain;
  if (ctx->filter_busy && lua_output_buffered(r)) {
    // The socket is full: a new chunk of Lua's would only pile up.
    int rc = http::next_body(r, http::Slot::kLua, nullptr);
    if (rc == kError) return rc;
    lua_update_chains(ctx, &ctx->filter_busy, nullptr, &kLuaFilterTag);
    if (rc != kOk && ctx->filter_busy && lua_output_buffered(r)) return kAgain;
  }
  if (x->chunks) return pump(ctx);
  int rc = http::next_body(r, http::Slot::kLua, nullptr);
  if (rc != kError) lua_update_chains(ctx, &ctx->filter_busy, nullptr, &kLuaFilterTag);
  return rc;
}

bool wait_for_filter(lua_State* L, LuaCtx* ctx, int* result) {
  if (ctx->r->output_held != ctx || !ctx->current || ctx->current->L != L || !lua_isyieldable(L))
    return false;
  *result = wait(L, new OutputWait(ctx));
  return true;
}

bool end_later(Request* r, int rc) {
  http::Connection* c = r->conn;
  // An error behind an error page does not stop that.
  bool failed = rc == kError && !r->filter_finalize;
  if (c->error || failed || rc == kDone || rc == kDeclined || rc == 408 || rc == 499 || rc == 444)
    return false;
  ExtendedState* x = static_cast<LuaCtx*>(r->output_held)->extended;
  x->ends = true;
  x->end_code = rc;
  r->write_event_handler = empty_handler;
  if (!r->is_main()) return true;
  r->read_event_handler = r->discard_body ? http::discarded_body_handler : http::test_reading;
  c->want_read(true);
  c->set_write_timeout(0);
  return true;
}

}  // namespace moonphase::engine
