// $echo_*.
#include <algorithm>
#include <cstdio>

#include "base/clock.h"
#include "engine/modules/echo_ctx.h"
#include "http/body.h"

namespace moonphase::engine::echo {

namespace {

int found_anew(VarValue* v, Str s) {
  found(v, s);
  v->no_cacheable = true;
  return kOk;
}

int timer_elapsed(Request* r, VarValue* v, Str, uintptr_t) {
  Ctx* ctx = ctx_of(r);
  if (!ctx) r->ctx[kModEcho] = ctx = make_ctx(r);
  if (!ctx->timer_begin) ctx->timer_begin = r->start_sec * 1000 + r->start_msec;
  clock_update();
  int64_t ms = std::max<int64_t>(now().wall_ms - ctx->timer_begin, 0);
  char* p = r->pool->bytes(32);
  int n = std::snprintf(p, 32, "%lld.%03d", static_cast<long long>(ms / 1000),
                        static_cast<int>(ms % 1000));
  return found_anew(v, {p, static_cast<size_t>(n)});
}

int method(Request* r, VarValue* v, Str, uintptr_t of_client) {
  if (of_client) r = r->main;
  return r->method_name.empty() ? not_found(v) : found(v, r->method_name);
}

int request_uri(Request* r, VarValue* v, Str, uintptr_t anew) {
  if (r->uri.empty()) return not_found(v);
  return anew ? found_anew(v, r->uri) : found(v, r->uri);
}

int request_body(Request* r, VarValue* v, Str, uintptr_t) {
  if (!r->body || !r->body->bufs || r->body->temp_file) return not_found(v);
  size_t size = 0;
  for (Chain* c = r->body->bufs; c; c = c->next) {
    if (c->buf->in_memory())
      size += c->buf->bytes().size();
    else if (c->buf->in_file)
      return not_found(v);
  }
  char* start = r->pool->bytes(size);
  char* p = start;
  for (Chain* c = r->body->bufs; c; c = c->next)
    if (c->buf->in_memory()) p = put_bytes(p, c->buf->bytes());
  return found(v, {start, size});
}

int client_request_headers(Request* r, VarValue* v, Str, uintptr_t) {
  if (r->main->http_version == http::kVersion20) return not_found(v);
  return found(v, r->main->header_bytes);
}

int it(Request* r, VarValue* v, Str, uintptr_t) {
  Ctx* ctx = ctx_of(r);
  const Foreach* loop = ctx ? ctx->loop : nullptr;
  return loop && loop->index < loop->count ? found_anew(v, loop->parts[loop->index]) : not_found(v);
}

int incr(Request* r, VarValue* v, Str, uintptr_t) {
  Ctx* ctx = ctx_of(r->main);
  if (!ctx) return kError;
  found_number(r, v, static_cast<int64_t>(++ctx->counter));
  v->no_cacheable = true;
  return kOk;
}

int response_status(Request* r, VarValue* v, Str, uintptr_t) {
  if (!r->headers_out.status) return not_found(v);
  found_number(r, v, r->headers_out.status);
  v->no_cacheable = true;
  return kOk;
}

}  // namespace

const VariableDef kVariables[] = {
    {"echo_timer_elapsed", timer_elapsed, nullptr, 0, kVarNoCacheable},
    {"echo_request_method", method, nullptr, 0, kVarNoCacheable},
    {"echo_client_request_method", method, nullptr, 1, kVarNoCacheable},
    {"echo_cacheable_request_uri", request_uri, nullptr, 0, 0},
    {"echo_request_uri", request_uri, nullptr, 1, 0},
    {"echo_request_body", request_body, nullptr, 0, kVarNoCacheable},
    {"echo_client_request_headers", client_request_headers, nullptr, 0, kVarNoCacheable},
    {"echo_it", it, nullptr, 0, kVarNoCacheable},
    {"echo_incr", incr, nullptr, 0, kVarNoCacheable},
    {"echo_response_status", response_status, nullptr, 0, kVarNoCacheable},
    {nullptr, nullptr, nullptr, 0, 0},
};

}  // namespace moonphase::engine::echo
