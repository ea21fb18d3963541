// ngx.location.capture: what subrequests answer is collected instead of sent.
#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/side_run.h"
#include "http/output.h"

namespace moonphase::engine {

namespace {

CaptureLink* link_of(Request* r) {
  http::PostSubrequest* ps = r->post_subrequest;
  return ps && ps->handler == lua_post_capture ? static_cast<CaptureLink*>(ps->data) : nullptr;
}

// An internal redirect of the subrequest clears its ctx: the new one goes on capturing.
LuaCtx* capturing_ctx(Request* r) {
  LuaCtx* ctx = ctx_of(r);
  if (ctx && ctx->capture) return ctx;
  CaptureLink* link = link_of(r);
  if (!link) return nullptr;
  if (!ctx) {
    r->lua = ctx = link->ctx;
  } else {
    MOONPHASE_LOG(r, kLogDebug, 0, "lua restoring ctx with capture %d, index %d",
                  link->ctx->capture, link->index);
    ctx->capture = true;
    link->ctx = ctx;
  }
  ctx->body = nullptr;
  ctx->last_body = &ctx->body;
  return ctx;
}

bool is_error_status(int rc) {
  return rc == kError || rc == 201 || rc == 204 ||
         (rc >= 300 && rc != 444 && rc != 408 && rc != 499);
}

int status_of(const Request* sr, int rc) {
  if (sr->headers_out.status) return sr->headers_out.status;
  if (rc == kOk) return 200;
  if (rc == kError) return 500;
  return rc >= 100 ? rc : 0;
}

Str join(Arena& a, const Chain* body) {
  if (!body) return {};
  if (!body->next) return body->buf->bytes();
  size_t size = 0;
  for (const Chain* c = body; c; c = c->next) size += c->buf->bytes().size();
  char* start = a.bytes(size);
  char* p = start;
  for (const Chain* c = body; c; c = c->next) {
    Str s = c->buf->bytes();
    std::memcpy(p, s.data(), s.size());
    p += s.size();
  }
  return {start, size};
}

// The body is Lua's now.
void recycle(LuaCtx* ctx, Chain* body) {
  while (Chain* link = body) {
    body = link->next;
    link->buf->pos = link->buf->last = link->buf->start;
    link->next = ctx->free;
    ctx->free = link;
  }
}

void push_header(lua_State* L, Str name, Str value) {
  lua_pushlstring(L, name.data(), name.size());
  lua_pushvalue(L, -1);
  lua_rawget(L, -3);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushlstring(L, value.data(), value.size());
    lua_rawset(L, -3);
    return;
  }
  if (!lua_istable(L, -1)) {
    lua_createtable(L, 4, 0);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 1);
  }
  lua_pushlstring(L, value.data(), value.size());
  lua_rawseti(L, -2, static_cast<int>(lua_objlen(L, -2)) + 1);
  lua_rawset(L, -3);
}

void set_header(lua_State* L, Str name, Str value) {
  lua_pushlstring(L, name.data(), name.size());
  lua_pushlstring(L, value.data(), value.size());
  lua_rawset(L, -3);
}

void push_headers(lua_State* L, const http::HeadersOut& out) {
  lua_createtable(L, 0, static_cast<int>(out.list.count()) + 5);
  for (const http::Header& h : out.list)
    if (h.hash) push_header(L, h.name, h.value);
  if (!out.content_type.empty()) set_header(L, "Content-Type", out.content_type);
  if (!out.content_length && out.content_length_n >= 0) {
    lua_pushliteral(L, "Content-Length");
    lua_pushnumber(L, static_cast<lua_Number>(out.content_length_n));
    lua_rawset(L, -3);
  }
  if (out.location && !out.location->value.empty()) set_header(L, "Location", out.location->value);
  int status = out.status;
  if (out.last_modified_time != -1 && !out.last_modified &&
      (status == 200 || status == 206 || status == 304 || status == 204)) {
    char date[64];
    set_header(L, "Last-Modified", Str(date, format_http_date(date, out.last_modified_time)));
  }
}

}  // namespace

int CaptureSet::results(lua_State* L) {
  MOONPHASE_LOG(parent->r, kLogDebug, 0, "lua handle subrequest responses");
  luaL_checkstack(L, count + 10, nullptr);
  for (int i = 0; i < count; ++i) {
    const Capture& item = items[i];
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, item.status);
    lua_setfield(L, -2, "status");
    lua_pushboolean(L, item.truncated);
    lua_setfield(L, -2, "truncated");
    lua_pushlstring(L, item.body.data(), item.body.size());
    lua_setfield(L, -2, "body");
    recycle(parent, item.bufs);
    push_headers(L, *item.headers);
    lua_setfield(L, -2, "header");
  }
  return count;
}

// The subrequests go on without anybody who waits for them.
void CaptureSet::cancel() { waiter = nullptr; }

namespace {

// As an error page would have it, without its body.
int send_error_header(LuaCtx* ctx, int status) {
  Request* sr = ctx->r;
  if (sr->header_sent && extended(ctx)) return kOk;
  sr->err_status = status;
  sr->expect_tested = true;
  sr->headers_out.content_type = {};
  sr->headers_out.content_length_n = 0;
  http::clear_accept_ranges(sr);
  http::clear_last_modified(sr);
  return lua_send_header(ctx);
}

}  // namespace

int lua_post_capture(Request* sr, void* data, int rc) {
  auto* link = static_cast<CaptureLink*>(data);
  LuaCtx* ctx = link->ctx;
  if (ctx->run_post_subrequest) return kOk;
  ctx->run_post_subrequest = true;
  MOONPHASE_LOG(sr, kLogDebug, 0, "lua run post subrequest handler, rc:%d c:%d", rc,
                sr->main->count);

  CaptureSet* set = link->set;
  Capture& item = set->items[link->index];
  if (extended(ctx) && rc > kOk && is_error_status(rc) && !sr->header_sent) {
    // The header filter may wait: then this is called again, and the answer has its headers.
    if (send_error_header(ctx, rc) == kError) return kError;
    if (sr->output_held) {
      ctx->run_post_subrequest = false;
      return kOk;
    }
  }
  item.status = status_of(sr, rc);
  item.truncated = !ctx->seen_last_for_subreq;
  if (sr->headers_out.status == 0 && rc == kOk) rc = 200;
  if (sr->headers_out.status == 0 && rc == kError) rc = 500;
  if (ctx->headers_set && lua_set_content_type(ctx) != kOk) {
    MOONPHASE_LOG(sr, kLogErr, 0, "failed to set default content type: %d", kError);
    return kError;
  }
  item.headers = &sr->headers_out;
  item.body = join(*sr->pool, ctx->body);
  item.bufs = std::exchange(ctx->body, nullptr);

  if (--set->pending == 0 && set->waiter) {
    set->parent->no_abort = false;
    set->waiter->subrequests = 0;
    wake_later(set);
  }
  if (!is_error_status(rc)) return rc;
  if (rc > kOk && send_error_header(ctx, rc) == kError) return kError;
  return kOk;
}

int lua_capture_header_filter(Request* r) {
  if (!generation(r)->plan->lua.capture_used) return http::next_header(r, http::Slot::kLuaCapture);
  MOONPHASE_LOG(r, kLogDebug, 0, "lua capture header filter, uri \"%.*s\"", STR(r->uri));
  LuaCtx* ctx = r->is_main() ? nullptr : capturing_ctx(r);
  if (!ctx) return http::next_header(r, http::Slot::kLuaCapture);
  MOONPHASE_LOG(r, kLogDebug, 0, "lua capturing response body");
  r->filter_need_in_memory = true;
  r->header_sent = true;
  ctx->header_sent = true;
  if (r->method == http::kHead) r->header_only = true;
  return kOk;
}

int lua_capture_body_filter(Request* r, Chain* in) {
  if (!generation(r)->plan->lua.capture_used)
    return http::next_body(r, http::Slot::kLuaCapture, in);
  MOONPHASE_LOG(r, kLogDebug, 0, "lua capture body filter, uri \"%.*s\"", STR(r->uri));
  LuaCtx* ctx = ctx_of(r);
  if (!in || !ctx || !ctx->capture) return http::next_body(r, http::Slot::kLuaCapture, in);
  if (ctx->run_post_subrequest) return kOk;
  LuaCtx* parent = r->parent ? ctx_of(r->parent) : nullptr;
  if (!parent) return kError;
  size_t size = 0;
  for (Chain* c = in; c; c = c->next) {
    if (c->buf->in_memory()) size += c->buf->bytes().size();
    if (c->buf->last_in_chain || c->buf->last_buf) ctx->seen_last_for_subreq = true;
  }
  if (size) {
    Chain* link = lua_free_buf(parent, size);
    for (Chain* c = in; c; c = c->next) {
      if (!c->buf->in_memory()) continue;
      Str s = c->buf->bytes();
      std::memcpy(link->buf->last, s.data(), s.size());
      link->buf->last += s.size();
    }
    *ctx->last_body = link;
    ctx->last_body = &link->next;
  }
  for (Chain* c = in; c; c = c->next) {
    c->buf->pos = c->buf->last;
    c->buf->file_pos = c->buf->file_last;
  }
  return kOk;
}

}  // namespace moonphase::engine
