// How an answer over HTTP/2 is read: its head, its body, its trailers.
#include "engine/lifecycle.h"
#include "engine/modules/grpc.h"
#include "engine/variables/variables.h"

namespace moonphase::engine::grpc {

namespace {

bool invalid(Request* r, const char* what, Str text) {
  MOONPHASE_LOG(r, kLogErr, 0, "upstream sent %s \"%.*s\"", what, STR(text));
  return false;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// What no name or value may have. ngx_http_grpc_validate_header_name and _value.
bool valid(Request* r, Str name, Str value) {
  bool good = !name.empty();
  for (size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    good &= c > 0x20 && c != 0x7f && !(c == ':' && i > 0) && !(c >= 'A' && c <= 'Z');
  }
  for (const char c : value) good &= c != '\0' && c != '\r' && c != '\n';
  if (good) return true;
  MOONPHASE_LOG(r, kLogErr, 0, "upstream sent invalid header: \"%.*s: %.*s\"", STR(name),
                STR(value));
  return false;
}

bool status_field(Ctx* ctx, Str name, Str value) {
  Upstream& u = *ctx->u;
  Request* r = u.r;
  if (name != ":status") return invalid(r, "invalid header", r->pool->join({name, ": ", value}));
  if (ctx->status_seen) {
    MOONPHASE_LOG(r, kLogErr, 0, "upstream sent duplicate :status header");
    return false;
  }
  if (value.size() != 3 || !is_digit(value[0]) || !is_digit(value[1]) || !is_digit(value[2]))
    return invalid(r, "invalid :status", value);
  const int status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
  if (status < 200 && status != 103) return invalid(r, "unexpected :status", value);
  u.head.status = status;
  ctx->status_seen = true;
  return true;
}

bool trailer_field(Ctx* ctx, Str name, Str value) {
  Request* r = ctx->u->r;
  if (name.starts_with(':'))
    return invalid(r, "invalid trailer", r->pool->join({name, ": ", value}));
  ctx->u->head.trailers.add(*r->pool, name, value);
  return true;
}

bool field(void* p, Str name, Str value) {
  auto* ctx = static_cast<Ctx*>(p);
  Upstream& u = *ctx->u;
  Request* r = u.r;
  MOONPHASE_LOG(r, kLogDebug, 0, "grpc %s: \"%.*s: %.*s\"", ctx->head_over ? "trailer" : "header",
                STR(name), STR(value));
  if (!valid(r, name, value)) {
    MOONPHASE_LOG(r, kLogErr, 0, "upstream sent invalid %s", ctx->head_over ? "trailer" : "header");
    return false;
  }
  if (ctx->head_over) return trailer_field(ctx, name, value);
  if (name.starts_with(':')) return status_field(ctx, name, value);
  if (!ctx->status_seen) {
    MOONPHASE_LOG(r, kLogErr, 0, "upstream sent no :status header");
    return false;
  }
  if (u.head.status == 103) return true;
  return upstream_header_line(u, u.head.list.add(*r->pool, name, value)) == kOk;
}

// nginx misses a head without a :status where it has no other fields either.
bool fields_end(void* p) {
  auto* ctx = static_cast<Ctx*>(p);
  if (ctx->head_over || ctx->status_seen) return true;
  MOONPHASE_LOG(ctx->u->r, kLogErr, 0, "upstream sent no :status header");
  return false;
}

bool data(void* p, char* from, char* to) {
  auto* ctx = static_cast<Ctx*>(p);
  if (ctx->length != -1) {
    if (to - from > ctx->length) {
      MOONPHASE_LOG(ctx->u->r, kLogErr, 0,
                    "upstream sent response body larger than indicated content length");
      return false;
    }
    ctx->length -= to - from;
  }
  ctx->u->pass(from, to);
  return true;
}

int ended_early(Request* r) {
  MOONPHASE_LOG(r, kLogErr, 0, "upstream prematurely closed stream");
  return kError;
}

// The answer is complete. What is due to the server goes first: then the connection serves again.
void end(Upstream& u, const Ctx& ctx) {
  u.keepalive = u.push_out() == kOk && ctx.client->reusable();
}

}  // namespace

constexpr http::H2Client::Sink kSink = {field, fields_end, data, nullptr};

int process_header(Upstream& u) {
  auto* ctx = static_cast<Ctx*>(u.data);
  Buf& b = u.head_buf;
  for (;;) {
    if (!ctx->client) {  // bytes before we have said a word
      MOONPHASE_LOG(u.r, kLogErr, 0, "upstream sent data before the request");
      return kInvalidHeader;
    }
    Str bytes = b.bytes();
    const http::H2Client::Taken taken = ctx->client->take(&bytes);
    b.pos = b.last - bytes.size();
    if (taken == http::H2Client::kNonsense) return kInvalidHeader;
    if (taken == http::H2Client::kMore) {
      // Only what belongs to the head counts against the size of the buffer.
      if (!ctx->client->in_fields()) b.pos = b.last = b.start;
      return kAgain;
    }
    if (u.head.status != 103) break;
    if (ctx->client->answered()) {
      ended_early(u.r);
      return kInvalidHeader;
    }
    u.head = UpstreamHead();
    ctx->status_seen = false;
    ctx->client->expect_head();
  }
  ctx->head_over = true;
  u.state->status = u.head.status;
  if (!ctx->client->answered()) return kOk;
  u.head.content_length_n = 0;
  end(u, *ctx);
  u.keepalive &= b.pos == b.last;
  return kOk;
}

int begin_body(Upstream& u) {
  auto* ctx = static_cast<Ctx*>(u.data);
  const bool none = u.head.status == 204 || u.head.status == 304 || u.r->method == http::kHead;
  ctx->length = none ? 0 : u.head.content_length_n;
  u.length = ctx->client->answered() ? 0 : 1;
  return kOk;
}

int body(Upstream& u, char* from, char* to) {
  auto* ctx = static_cast<Ctx*>(u.data);
  Str bytes(from, static_cast<size_t>(to - from));
  if (ctx->client->take(&bytes) == http::H2Client::kNonsense) return kError;
  if (!ctx->client->answered()) return kOk;
  if (ctx->length > 0) return ended_early(u.r);
  u.length = 0;
  end(u, *ctx);
  return kOk;
}

}  // namespace moonphase::engine::grpc
