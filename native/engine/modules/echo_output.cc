// What the commands send: the header before the first byte, lines, copies, the client's body.
#include "engine/lifecycle.h"
#include "engine/modules/echo_ctx.h"
#include "http/body.h"
#include "http/output.h"

namespace moonphase::engine::echo {

int send_header(Request* r, Ctx* ctx) {
  if (r->header_sent || ctx->header_sent) return kOk;
  r->headers_out.status = conf_of(r)->status;
  if (http::set_content_type(r) != kOk) return 500;
  http::clear_content_length(r);
  http::clear_accept_ranges(r);
  int rc = http::send_header(r);
  ctx->header_sent = true;
  return rc;
}

int send(Request* r, Ctx* ctx, Chain* in) {
  int rc = send_header(r, ctx);
  if (rc == kError || rc > kOk || r->header_only) return rc;
  if (in) return http::output(r, in);
  rc = http::send_special(r, http::kSendLast);
  return rc >= 300 ? rc : int{kOk};
}

Chain* line(Request* r, const EchoCommand& command, const Args& args) {
  size_t size = (args.count ? args.count - 1 : 0) + command.newline;
  for (size_t i = 0; i < args.count; ++i) size += args[i].size();
  if (size == 0) return nullptr;
  char* start = r->pool->bytes(size);
  char* p = start;
  for (size_t i = 0; i < args.count; ++i) {
    if (i) *p++ = ' ';
    p = put_bytes(p, args[i]);
  }
  if (command.newline) *p = '\n';
  return make_chain(*r->pool, buf_of(*r->pool, {start, size}));
}

namespace {

// Digits with underscores anywhere; -1: something else.
int64_t parse_count(Str s) {
  if (s.empty()) return -1;
  int64_t n = 0;
  for (char c : s) {
    if (c == '_') continue;
    if (c < '0' || c > '9' || n > INT64_MAX / 10 - 1) return -1;
    n = n * 10 + (c - '0');
  }
  return n;
}

}  // namespace

int duplicate(Request* r, Ctx* ctx, const Args& args) {
  int64_t count = parse_count(args[0]);
  if (count < 0) {
    MOONPHASE_LOG(r, kLogErr, 0, "invalid size specified: \"%.*s\"", STR(args[0]));
    return 500;
  }
  Str text = args[1];
  if (count == 0 || text.empty()) {
    int rc = send_header(r, ctx);
    return rc == kError || rc > kOk ? rc : int{kOk};
  }
  constexpr int64_t kMost = int64_t{1} << 32;
  if (count > kMost / static_cast<int64_t>(text.size())) return 500;

  size_t size = static_cast<size_t>(count) * text.size();
  char* start = r->pool->bytes(size);
  if (text.size() == 1) {
    std::memset(start, text[0], size);
  } else {
    char* p = start;
    for (int64_t i = 0; i < count; ++i) p = put_bytes(p, text);
  }
  return send(r, ctx, make_chain(*r->pool, buf_of(*r->pool, {start, size})));
}

int request_body(Request* r, Ctx* ctx) {
  if (!r->body) return kOk;
  Chain* out = nullptr;
  Chain** end = &out;
  for (Chain* c = r->body->bufs; c; c = c->next) {
    if (c->buf->special()) continue;
    Buf* b = make_buf(*r->pool);
    *b = *c->buf;
    b->tag = nullptr;
    b->last_buf = b->last_in_chain = false;
    *end = make_chain(*r->pool, b);
    end = &(*end)->next;
  }
  return out ? send(r, ctx, out) : int{kOk};
}

int sync(Request* r, Ctx* ctx) {
  Buf* b = make_buf(*r->pool);
  b->sync = true;
  return send(r, ctx, make_chain(*r->pool, b));
}

}  // namespace moonphase::engine::echo
