// What Lua sends: the header before the first byte, HTTP/1.0 answers held back for their length,
// buffers reused.
#include <cerrno>

#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/sockets/req_socket.h"
#include "http/body.h"
#include "http/connection.h"
#include "http/output.h"

namespace moonphase::engine {

const char kLuaOutputTag = 0, kLuaFilterTag = 0;

// One coroutine in ngx.flush(true).
struct FlushWait final : public Pending {
  explicit FlushWait(LuaCtx* c) : ctx(c), next(c->flushing) { c->flushing = this; }
  void unlink() {
    for (FlushWait** p = &ctx->flushing; *p; p = &(*p)->next)
      if (*p == this) {
        *p = next;
        return;
      }
  }
  int results(lua_State* L) override {
    http::Connection* c = ctx->r->conn;
    int n = 2;
    if (c->timedout || c->error) {
      lua_pushnil(L);
      lua_pushstring(L, c->timedout ? "timeout" : "client aborted");
    } else {
      lua_pushinteger(L, 1);
      n = 1;
    }
    delete this;
    return n;
  }
  void cancel() override {
    unlink();
    delete this;
  }
  LuaCtx* ctx;
  FlushWait* next;
  bool due = false;
};

namespace {

int through_filters(LuaCtx* ctx, Chain* in) {
  Request* r = ctx->r;
  http::Connection* c = r->conn;
  Request* active = c->active;
  // Our output does not wait for other subrequests' turns.
  if (active != r) {
    c->active = r;
    int rc = http::output(r, in);
    c->active = active;
    return rc;
  }
  int rc = http::output(r, in);
  if (rc == kError) return rc;
  if (r->lua == ctx) lua_update_chains(ctx, &ctx->busy, in, &kLuaOutputTag);
  return rc;
}

// Would nobody see whether these bytes have gone through the filters? The writer would only keep
// them (postpone_output), and no filter on the way but the chunks' looks at them.
bool may_park(const Request* r, const Chain* in) {
  constexpr off_t kChunkRoom = 32;
  constexpr uint32_t kPlain = slot_bit(http::Slot::kCopy) | slot_bit(http::Slot::kPostpone) |
                              slot_bit(http::Slot::kChunked) | slot_bit(http::Slot::kWrite);
  const http::Connection* c = r->conn;
  if (http::filters().bodies(r) != kPlain || !r->is_main() || c->active != r || r->postponed ||
      r->post_action || r->filter_finalize || r->header_held || r->output_held || c->error ||
      c->buffered_bits || in->next || !in->buf->temporary)
    return false;
  return chain_size(r->out) + in->buf->size() + kChunkRoom <
         static_cast<off_t>(r->loc->postpone_output);
}

int send_parked(LuaCtx* ctx) {
  Chain* parked = ctx->parked;
  ctx->parked = nullptr;
  return through_filters(ctx, parked);
}

// The end goes out with what is parked: one way through the filters for both.
int send_end(LuaCtx* ctx) {
  Request* r = ctx->r;
  http::Connection* c = r->conn;
  Request* active = c->active;
  Chain* parked = ctx->parked;
  c->active = r;
  int rc;
  if (parked) {
    ctx->parked = nullptr;
    Chain end{make_buf(*r->pool)};
    end.buf->last_buf = true;
    parked->next = &end;
    rc = http::output(r, parked);
    parked->next = nullptr;
    if (rc != kError && parked->buf->size() && r->lua == ctx)
      lua_update_chains(ctx, &ctx->busy, parked, &kLuaOutputTag);
  } else {
    rc = http::send_special(r, http::kSendLast);
  }
  c->active = active;
  return rc;
}

int send_http10_header(LuaCtx* ctx) {
  Request* r = ctx->r;
  if (r->header_sent || ctx->header_sent) return kOk;
  if (!r->header_only && !r->headers_out.content_length)
    r->headers_out.content_length_n = chain_size(ctx->out);
  int rc = http::send_header(r);
  ctx->header_sent = true;
  return rc;
}

// What a client sends that nobody asked for must not stay in the connection.
int discard_unread_body(Request* r) {
  if (r->body || r != r->main) return kOk;
  return http::discard_body(r) == kOk ? kOk : kError;
}

bool failed(int rc) { return rc == kError || rc >= 300; }

int end_of_answer(LuaCtx* ctx) {
  Request* r = ctx->r;
  if (discard_unread_body(r) != kOk) return kError;
  if (ctx->buffering) {
    int rc = send_http10_header(ctx);
    if (failed(rc)) return rc;
    if (ctx->out) {
      rc = through_filters(ctx, ctx->out);
      if (failed(rc)) return rc;
      ctx->out = nullptr;
    }
  }
  ctx->eof = true;
  int rc = send_end(ctx);
  return failed(rc) ? rc : int{kOk};
}

void append(Chain** chain, Chain* in) {
  while (*chain) chain = &(*chain)->next;
  *chain = in;
}

}  // namespace

int lua_send_header(LuaCtx* ctx) {
  Request* r = ctx->r;
  if (r->header_sent || ctx->header_sent) return kOk;
  if (r->headers_out.status == 0) r->headers_out.status = 200;
  if (!ctx->mime_set && lua_set_content_type(ctx) != kOk) return kError;
  if (!ctx->headers_set) {
    http::clear_content_length(r);
    http::clear_accept_ranges(r);
  }
  if (ctx->buffering) return kOk;
  int rc = http::send_header(r);
  ctx->header_sent = true;
  return rc;
}

int lua_set_content_type(LuaCtx* ctx) {
  ctx->mime_set = true;
  Request* r = ctx->r;
  if (!loc(r)->lua.use_default_type || r->headers_out.status == 304) return kOk;
  return http::set_content_type(r);
}

int lua_send_chain(LuaCtx* ctx, Chain* in) {
  Request* r = ctx->r;
  if (ctx->acquired_raw_req_socket || ctx->eof) return kOk;
  if ((r->method & http::kHead) && !r->header_only) r->header_only = true;
  if (loc(r)->lua.http10_buffering && !ctx->buffering && !r->header_sent && !ctx->header_sent &&
      r->http_version < http::kVersion11 && r->headers_out.content_length_n < 0) {
    ctx->buffering = true;
  }
  int rc = lua_send_header(ctx);
  if (rc == kError || rc > kOk) return rc;
  if (r->header_only) {
    ctx->eof = true;
    if (discard_unread_body(r) != kOk) return kError;
    return ctx->buffering ? send_http10_header(ctx) : rc;
  }
  if (!in) return end_of_answer(ctx);
  if (ctx->parked) {
    rc = send_parked(ctx);
    if (failed(rc)) return rc;
  }
  if (ctx->buffering) {
    MOONPHASE_LOG(r, kLogDebug, 0, "lua buffering output bufs for the HTTP 1.0 request");
    append(&ctx->out, in);
    return kOk;
  }
  if (!ctx->busy && may_park(r, in)) {
    ctx->parked = in;
    return kOk;
  }
  return through_filters(ctx, in);
}

Chain* lua_free_buf(LuaCtx* ctx, size_t size) {
  Arena& a = *ctx->r->pool;
  if (Chain* link = ctx->free) {
    ctx->free = link->next;
    link->next = nullptr;
    char *start = link->buf->start, *end = link->buf->end;
    *link->buf = Buf();
    Buf* b = link->buf;
    size_t room = static_cast<size_t>(end - start);
    if (start && room >= size) {
      MOONPHASE_LOG(ctx->r, kLogDebug, 0, "lua reuse free buf memory %zu >= %zu, cl:%p, p:%p", room,
                    size, static_cast<void*>(link), static_cast<void*>(start));
    } else {
      MOONPHASE_LOG(
          ctx->r, kLogDebug, 0,
          "lua reuse free buf chain, but reallocate memory because %zu >= %zu, cl:%p, p:%p", size,
          room, static_cast<void*>(link), static_cast<void*>(start));
      start = size ? a.bytes(size) : nullptr;
      end = start + size;
    }
    b->start = b->pos = b->last = start;
    b->end = end;
    b->tag = &kLuaOutputTag;
    b->temporary = size > 0;
    return link;
  }
  Buf* b = make_buf(a);
  b->tag = &kLuaOutputTag;
  if (size) {
    b->start = b->pos = b->last = a.bytes(size);
    b->end = b->start + size;
    b->temporary = true;
  }
  return make_chain(a, b);
}

void lua_update_chains(LuaCtx* ctx, Chain** busy, Chain* out, const void* tag) {
  append(busy, out);
  while (Chain* link = *busy) {
    Buf* b = link->buf;
    if (b->tag == tag) {
      if (b->size() != 0) return;
      b->pos = b->last = b->start;
      *busy = link->next;
      link->next = ctx->free;
      ctx->free = link;
    } else {
      *busy = link->next;
    }
  }
}

bool lua_output_buffered(const Request* r) { return r->conn->buffered_bits & http::kWriteBuffered; }

// --- ngx.flush(true) ---

int lua_wait_flush(lua_State* L, LuaCtx* ctx) {
  Request* r = ctx->r;
  http::Connection* c = r->conn;
  MOONPHASE_LOG(r, kLogDebug, 0, "lua flush requires waiting: buffered 0x%x, delayed:%d",
                c->buffered_bits, c->write_delayed);
  r->write_event_handler = lua_write_event;
  if (!c->write_delayed) c->set_write_timeout(loc(r)->send_timeout);
  c->want_write(true);
  return wait(L, new FlushWait(ctx));
}

namespace {

void wake_flushing(LuaCtx* ctx) {
  // Who waits again meanwhile waits for what comes after this.
  for (FlushWait* w = ctx->flushing; w; w = w->next) w->due = true;
  CtxGuard guard(ctx);
  while (guard.alive()) {
    FlushWait* w = ctx->flushing;
    while (w && !w->due) w = w->next;
    if (!w) return;
    w->unlink();
    wake(w);
  }
}

// Sends on what the socket did not take; true: all is out or nothing can go any more.
bool push_output(LuaCtx* ctx) {
  Request* r = ctx->r;
  http::Connection* c = r->conn;
  Chain* in = nullptr;
  if (!ctx->busy) {
    in = lua_free_buf(ctx, 0);
    in->buf->flush = true;
  }
  int rc = through_filters(ctx, in);
  if (rc == kError || rc > kOk) return true;
  if (!lua_output_buffered(r)) {
    if (!c->write_delayed) c->set_write_timeout(0);
    return true;
  }
  if (!c->write_delayed) c->set_write_timeout(loc(r->main)->send_timeout);
  c->want_write(true);
  return false;
}

}  // namespace

void lua_write_event(Request* r) {
  LuaCtx* ctx = ctx_of(r);
  if (!ctx) return;
  if (ctx->downstream && ctx->downstream->write_event()) return;
  if (r->output_held) return;  // a filter waits: it goes on from there
  http::Connection* c = r->conn;
  if (c->write_timedout && !c->write_delayed) {
    MOONPHASE_LOG(r, kLogInfo, ETIMEDOUT, "client timed out");
    c->timedout = true;
    wake_flushing(ctx);
    return;
  }
  if (c->write_timedout) {
    c->write_timedout = false;
    c->write_delayed = false;
  }
  if (lua_output_buffered(r) && !push_output(ctx)) return;
  wake_flushing(ctx);
}

}  // namespace moonphase::engine
