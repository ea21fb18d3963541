// Transfer-Encoding: chunked, on the way out.
#include <charconv>

#include "http/connection.h"
#include "http/filters.h"

namespace moonphase::http {

namespace {

// Buffers for sizes and line ends, used again when they have been sent.
struct ChunkedCtx {
  Chain* bufs = nullptr;
};

ChunkedCtx* ctx_of(Request* r) { return static_cast<ChunkedCtx*>(r->ctx[Request::kCtxChunked]); }

Buf* size_buf(Request* r) {
  Buf* b = make_buf(*r->pool);
  b->start = r->pool->bytes(18);
  b->end = b->start + 18;
  b->pos = b->last = b->start;
  return b;
}

Buf* take(Request* r, ChunkedCtx* ctx) {
  int looked = 0;
  for (Chain* c = ctx->bufs; c && looked < 4; c = c->next, ++looked) {
    Buf* b = c->buf;
    if (b->tag != nullptr || b->pos != b->last) continue;
    b->tag = ctx;  // taken in this round
    return b;
  }
  Buf* b = size_buf(r);
  b->tag = ctx;
  ctx->bufs = make_chain(*r->pool, b, ctx->bufs);
  return b;
}

Str trailer_bytes(Request* r) {
  size_t size = 7;
  bool any = false;
  HeaderList& list = r->headers_out.trailers;
  for (auto it = list.begin(); it != list.end(); ++it) {
    if (!it->hash) continue;
    any = true;
    size += it->name.size() + it->value.size() + 4;
  }
  if (!any) return "\r\n0\r\n\r\n";
  char* start = r->pool->bytes(size);
  char* p = start;
  auto put = [&](Str s) { p = put_bytes(p, s); };
  put("\r\n0\r\n");
  for (auto it = list.begin(); it != list.end(); ++it) {
    if (!it->hash) continue;
    put(it->name);
    put(": ");
    put(it->value);
    put("\r\n");
  }
  put("\r\n");
  return {start, static_cast<size_t>(p - start)};
}

}  // namespace

int chunked_header_filter(Request* r) {
  HeadersOut& out = r->headers_out;
  if (r->conn->framed || r->conn->hosted || out.status == 304 || out.status == 204 ||
      out.status < 200 || !r->is_main() || r->method == kHead)
    return next_header(r, Slot::kChunked);
  if (out.content_length_n == -1 || r->expect_trailers) {
    if (r->http_version >= kVersion11 && r->loc->chunked_transfer_encoding) {
      if (r->expect_trailers) clear_content_length(r);
      r->chunked = true;
      r->ctx[Request::kCtxChunked] = r->pool->make<ChunkedCtx>();
    } else if (out.content_length_n == -1) {
      r->keepalive = false;
    }
  }
  return next_header(r, Slot::kChunked);
}

int chunked_body_filter(Request* r, Chain* in) {
  if (!in || !r->chunked || r->header_only) return next_body(r, Slot::kChunked, in);
  ChunkedCtx* ctx = ctx_of(r);
  if (!ctx) ctx = r->pool->make<ChunkedCtx>(), r->ctx[Request::kCtxChunked] = ctx;

  // Most calls need no more. Bytes: links would be cleared, all of them, each time.
  constexpr size_t kLinks = 18;
  alignas(Chain) unsigned char links[kLinks * sizeof(Chain)];
  size_t used = 0;
  auto link = [&](Buf* b) -> Chain* {
    if (used < kLinks) return new (links + used++ * sizeof(Chain)) Chain{b, nullptr};
    return make_chain(*r->pool, b);
  };

  off_t size = 0;
  Chain *out = nullptr, **end = &out;
  Buf* last = nullptr;
  for (Chain* c = in; c; c = c->next) {
    Buf* b = last = c->buf;
    size += b->size();
    if (!b->flush && !b->sync && !b->in_memory() && !b->in_file) continue;
    *end = link(b);
    end = &(*end)->next;
  }

  Buf* mine[2] = {};
  if (size) {
    Buf* b = mine[0] = last->last_buf ? size_buf(r) : take(r, ctx);
    b->memory = false;
    b->temporary = true;
    b->pos = b->start;
    b->last = std::to_chars(b->start, b->end - 2, size, 16).ptr;
    *b->last++ = '\r';
    *b->last++ = '\n';
    Chain* first = link(b);
    first->next = out;
    if (end == &out) end = &first->next;
    out = first;
  }
  if (last->last_buf) {
    Buf* b = make_buf(*r->pool);
    Str bytes = trailer_bytes(r);
    if (!size) bytes.remove_prefix(2);
    b->pos = b->start = const_cast<char*>(bytes.data());
    b->last = b->end = b->pos + bytes.size();
    b->memory = true;
    b->last_buf = true;
    last->last_buf = false;
    *end = link(b);
  } else if (size) {
    Buf* b = mine[1] = take(r, ctx);
    b->temporary = false;
    b->memory = true;
    b->pos = b->start;
    b->last = b->start + 2;
    std::memcpy(b->start, "\r\n", 2);
    *end = link(b);
  }
  int rc = out ? next_body(r, Slot::kChunked, out) : next_body(r, Slot::kChunked, nullptr);
  for (Buf* b : mine)
    if (b) b->tag = nullptr;
  return rc;
}

}  // namespace moonphase::http
