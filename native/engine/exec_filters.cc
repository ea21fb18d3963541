// Phases that run to their end in one call: set, header_filter, body_filter, log. With extended
// capabilities they may wait: engine/side_run.h.
#include <malloc.h>

#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/scheduler.h"
#include "engine/side_run.h"
#include "http/detached.h"
#include "http/output.h"
#include "lua/call.h"

namespace moonphase::engine {

int call_handler(LuaCtx* ctx, int nargs, const char* what) {
  lua_State* L = ctx->L();
  void* outer = lua_getexdata(L);
  lua_setexdata(L, ctx->r);
  int status;
  {
    RunningLua running(ctx->gen, L, nargs, ctx->r->conn);
    status = lua::protected_call(L, nargs, 1);
  }
  lua_setexdata(L, outer);
  if (status == 0) return kOk;
  Str message = lua::error_text(L, "unknown reason");
  MOONPHASE_LOG(ctx->r, kLogErr, 0, "failed to run %s: %.*s", what, STR(message));
  return kError;
}

namespace {

void consume(Chain* in) {
  for (; in; in = in->next) {
    in->buf->pos = in->buf->last;
    in->buf->file_pos = in->buf->file_last;
  }
}

int run_header_filter(LuaCtx* ctx, const Handler* h) {
  lua_State* L = ctx->L();
  if (push_handler(ctx, h) != kOk) return kError;
  int code_before = ctx->exited ? ctx->exit_code : 0;
  int rc = call_handler(ctx, 0, "header_filter_by_lua*");
  lua_pop(L, 1);
  if (rc != kOk) return kError;
  if (!ctx->exited || ctx->exit_code == code_before) return kOk;
  if (ctx->exit_code == kError) return kError;
  rc = filter_finalize(ctx->r, ctx->exit_code, true);
  return rc == kError || rc == kAgain ? rc : int{kDeclined};
}

int run_body_filter(LuaCtx* ctx, const Handler* h, Chain* in) {
  lua_State* L = ctx->L();
  if (push_handler(ctx, h) != kOk) return kError;
  ctx->filter_in = in;
  int rc = call_handler(ctx, 0, "body_filter_by_lua*");
  int code = rc == kOk ? static_cast<int>(lua_tointeger(L, -1)) : 0;
  lua_pop(L, 1);
  return rc != kOk || code == kError || code >= 300 ? kError : kOk;
}

}  // namespace

namespace {

void set_ended(SideRun* s, int) {
  auto* wait = static_cast<SetWait*>(s->data);
  int rc = s->failed ? kError : kOk;
  Str value = s->value;
  bool over = s->ctx->r->main->terminated;
  close_side(s);
  if (!over) wait->done(wait, rc, value);
}

int extended_set_handler(LuaCtx* ctx, const Handler* h, Str* args, int nargs, Str* value,
                         SetWait** wait) {
  Request* r = ctx->r;
  lua_State* L = ctx->L();
  if (push_handler(ctx, h) != kOk) return kError;
  SideRun* s = open_side(ctx, kPhaseSet, set_ended);
  ctx->set_args = args;
  ctx->set_nargs = nargs;
  for (int i = 0; i < nargs; ++i) lua_pushlstring(L, args[i].data(), args[i].size());
  int rc = begin_side(s, nargs);
  if (rc == kDone) return kError;
  if (rc == kAgain) {
    s->data = *wait = r->pool->make<SetWait>();
    r->write_event_handler = empty_handler;
    if (loc(r)->lua.check_client_abort) {
      lua_watch_client(ctx);
    } else {
      r->read_event_handler = http::block_reading;
    }
    return kAgain;
  }
  rc = s->failed ? kError : kOk;
  *value = s->value;
  close_side(s);
  return rc;
}

void log_ended(SideRun* s, int) {
  Request* main = s->ctx->r->main;
  close_side(s);
  if (--main->logging == 0 && main->detached) http::end_detached(main);
}

// The request is over: nothing of it but log handlers may go on.
int extended_log_handler(LuaCtx* ctx, const Handler* h) {
  Request* main = ctx->r->main;
  if (ctx->r == main) end_all_but_log(main);
  if (push_handler(ctx, h) != kOk) return kError;
  SideRun* s = open_side(ctx, kPhaseLog, log_ended);
  int rc = begin_side(s, 0);
  if (rc == kAgain) {
    ++main->logging;
    return kAgain;
  }
  if (rc == kDone) return kError;
  rc = s->failed ? kError : kOk;
  close_side(s);
  return rc;
}

}  // namespace

int lua_set_handler(Request* r, const Handler* h, Str* args, int nargs, Str* value,
                    SetWait** wait) {
  LuaCtx* ctx = lua_ctx(r);
  if (!ctx) return kError;
  if (extended(ctx)) return extended_set_handler(ctx, h, args, nargs, value, wait);
  uint32_t outer = enter_phase(ctx, kPhaseSet);
  lua_State* L = ctx->L();
  int rc = push_handler(ctx, h);
  if (rc == kOk) {
    Str* outer_args = ctx->set_args;
    int outer_nargs = ctx->set_nargs;
    ctx->set_args = args;
    ctx->set_nargs = nargs;
    for (int i = 0; i < nargs; ++i) lua_pushlstring(L, args[i].data(), args[i].size());
    rc = call_handler(ctx, nargs, "set_by_lua*");
    ctx->set_args = outer_args;
    ctx->set_nargs = outer_nargs;
    if (rc == kOk) {
      size_t n = 0;
      const char* s = lua_tolstring(L, -1, &n);
      *value = s ? r->pool->copy(Str(s, n)) : Str();
    }
    lua_pop(L, 1);
  }
  enter_phase(ctx, outer);
  return rc == kOk ? kOk : kError;
}

int lua_header_filter(Request* r) {
  if (!generation(r)->plan->lua.header_filter_used) return http::next_header(r, http::Slot::kLua);
  MOONPHASE_LOG(r, kLogDebug, 0, "lua header filter for user lua code, uri \"%.*s\"", STR(r->uri));
  const LuaLocConf& conf = loc(r)->lua;
  if (conf.body_filter) r->filter_need_in_memory = true;
  if (!conf.header_filter) return http::next_header(r, http::Slot::kLua);
  LuaCtx* ctx = lua_ctx(r);
  if (!ctx) return kError;
  int rc;
  if (extended(ctx)) {
    rc = extended_header_filter(ctx, conf.header_filter.get());
  } else {
    uint32_t outer = enter_phase(ctx, kPhaseHeaderFilter);
    rc = run_header_filter(ctx, conf.header_filter.get());
    enter_phase(ctx, outer);
  }
  if (rc == kDeclined) return kOk;
  if (rc == kAgain || rc == kError) return rc;
  return http::next_header(r, http::Slot::kLua);
}

int lua_body_filter(Request* r, Chain* in) {
  if (!generation(r)->plan->lua.body_filter_used) return http::next_body(r, http::Slot::kLua, in);
  MOONPHASE_LOG(r, kLogDebug, 0, "lua body filter for user lua code, uri \"%.*s\"", STR(r->uri));
  const LuaLocConf& conf = loc(r)->lua;
  if (!conf.body_filter || r->header_only) return http::next_body(r, http::Slot::kLua, in);
  LuaCtx* ctx = lua_ctx(r);
  if (!ctx) return kError;
  if (extended(ctx)) return extended_body_filter(ctx, in);
  if (ctx->seen_last_in_filter) {
    consume(in);
    in = nullptr;
  }
  if (in) chain_add_copy(*r->pool, &ctx->filter_held, in);
  if (ctx->filter_busy && lua_output_buffered(r)) {
    // The socket is full: a new chunk of Lua's would only pile up.
    int rc = http::next_body(r, http::Slot::kLua, nullptr);
    if (rc == kError) return rc;
    lua_update_chains(ctx, &ctx->filter_busy, nullptr, &kLuaFilterTag);
    if (rc != kOk && ctx->filter_busy && lua_output_buffered(r)) return kAgain;
  }
  Chain* out = nullptr;
  if (Chain* held = ctx->filter_held) {
    ctx->filter_held = nullptr;
    uint32_t outer = enter_phase(ctx, kPhaseBodyFilter);
    int rc = run_body_filter(ctx, conf.body_filter.get(), held);
    enter_phase(ctx, outer);
    out = ctx->filter_in;
    ctx->filter_in = nullptr;
    if (rc != kOk) return kError;
    if (!out) return kOk;  // swallowed; an empty chain means "send what is held" to the others
  }
  int rc = http::next_body(r, http::Slot::kLua, out);
  if (rc == kError) return kError;
  lua_update_chains(ctx, &ctx->filter_busy, out, &kLuaFilterTag);
  return rc;
}

void register_lua_filters() {
  http::FilterTable& t = http::filters();
  t.add(http::Slot::kLua, lua_header_filter, lua_body_filter);
  t.add(http::Slot::kLuaCapture, lua_capture_header_filter, lua_capture_body_filter);
}

static void trim_memory(Request* r) {
  Generation* g = generation(r);
  const int every = g->plan->lua.malloc_trim;
  if (every <= 0) {
    MOONPHASE_LOG(r, kLogDebug, 0, "malloc_trim() disabled");
    return;
  }
  Scheduler& s = Scheduler::of(g);
  if (++s.requests < every) return;
  s.requests = 0;
  [[maybe_unused]] int trimmed = malloc_trim(1);
  MOONPHASE_LOG(r, kLogDebug, 0, "malloc_trim(1) returned %d", trimmed);
}

int lua_log_handler(Request* r) {
  trim_memory(r);
  MOONPHASE_LOG(r, kLogDebug, 0, "lua log handler, uri:\"%.*s\" c:%d", STR(r->uri), r->main->count);
  const Handler* h = loc(r)->lua.log.get();
  if (!h) return kDeclined;
  LuaCtx* ctx = lua_ctx(r);
  if (!ctx) return kError;
  if (extended(ctx)) return extended_log_handler(ctx, h);
  enter_phase(ctx, kPhaseLog);
  if (push_handler(ctx, h) != kOk) return kError;
  int rc = call_handler(ctx, 0, "log_by_lua*");
  lua_pop(ctx->L(), 1);
  return rc;
}

}  // namespace moonphase::engine
