// Content-Encoding: gzip, on the way out (ngx_http_gzip_filter_module).
#include <zlib.h>

#include "http/connection.h"
#include "http/gzip.h"
#include "http/output.h"

namespace moonphase::http {

namespace {

// What arrives waits in `in` until zlib has taken it; what zlib gives goes out in at most
// `gzip_buffers` buffers, which are used again when they have been sent.
struct GzipCtx {
  z_stream stream{};
  bool started = false, done = false, starved = false, redo = false;
  int window_bits = 15, memory_level = 8, flush = Z_NO_FLUSH, bufs = 0;
  Chain* in = nullptr;
  Buf* in_buf = nullptr;
  Buf* out_buf = nullptr;
  Chain *free = nullptr, *busy = nullptr, *out = nullptr, **out_end = &out;
  Chain* free_links = nullptr;
  uint64_t total_in = 0, total_out = 0;
};

const char kTag = 0;

GzipCtx* ctx_of(const Request* r) { return static_cast<GzipCtx*>(r->ctx[Request::kCtxGzip]); }

void end_stream(void* p) {
  auto* ctx = static_cast<GzipCtx*>(p);
  if (ctx->started) deflateEnd(&ctx->stream);
  ctx->started = false;
}

// A body that is small needs a small window only.
void choose_memory(Request* r, const GzipConf& conf, GzipCtx* ctx) {
  ctx->window_bits = conf.window_bits;
  ctx->memory_level = conf.memory_level;
  int64_t length = r->headers_out.content_length_n;
  if (length <= 0) return;
  while (length < (1 << (ctx->window_bits - 1)) - 262) {
    --ctx->window_bits;
    --ctx->memory_level;
  }
  if (ctx->memory_level < 1) ctx->memory_level = 1;
}

bool start(Request* r, GzipCtx* ctx) {
  int rc = deflateInit2(&ctx->stream, r->loc->gzip->level, Z_DEFLATED, ctx->window_bits + 16,
                        ctx->memory_level, Z_DEFAULT_STRATEGY);
  if (rc != Z_OK) {
    log_write(r->conn->log, r->conn, kLogAlert, 0, "deflateInit2() failed: %d", rc);
    return false;
  }
  ctx->started = true;
  return true;
}

void put_out(Request* r, GzipCtx* ctx, Buf* b) {
  Chain* c = ctx->free_links;
  if (c) {
    ctx->free_links = c->next;
    *c = {b, nullptr};
  } else {
    c = make_chain(*r->pool, b);
  }
  *ctx->out_end = c;
  ctx->out_end = &c->next;
}

// Feeds zlib. kOk: it has something to do; kAgain: that buffer was empty; kDeclined: nothing is
// there.
int add_data(GzipCtx* ctx) {
  if (ctx->stream.avail_in || ctx->flush != Z_NO_FLUSH || ctx->redo) return kOk;
  Chain* c = ctx->in;
  if (!c) return kDeclined;
  ctx->in = c->next;
  Buf* b = ctx->in_buf = c->buf;
  c->next = ctx->free_links;
  ctx->free_links = c;
  ctx->stream.next_in = reinterpret_cast<Bytef*>(b->pos);
  ctx->stream.avail_in = static_cast<uInt>(b->last - b->pos);
  if (b->last_buf)
    ctx->flush = Z_FINISH;
  else if (b->flush)
    ctx->flush = Z_SYNC_FLUSH;
  else if (ctx->stream.avail_in == 0)
    return kAgain;
  return kOk;
}

// Room for zlib's output; kDeclined: all buffers are on their way.
int get_buf(Request* r, GzipCtx* ctx) {
  if (ctx->stream.avail_out) return kOk;
  const GzipConf& conf = *r->loc->gzip;
  if (Chain* c = ctx->free) {
    ctx->free = c->next;
    ctx->out_buf = c->buf;
    c->next = ctx->free_links;
    ctx->free_links = c;
  } else if (ctx->bufs < conf.buffers_number) {
    Buf* b = ctx->out_buf = make_buf(*r->pool);
    b->start = r->pool->bytes(conf.buffers_size);
    b->end = b->start + conf.buffers_size;
    b->pos = b->last = b->start;
    b->tag = &kTag;
    b->temporary = true;
    b->recycled = true;
    ++ctx->bufs;
  } else {
    ctx->starved = true;
    return kDeclined;
  }
  ctx->stream.next_out = reinterpret_cast<Bytef*>(ctx->out_buf->pos);
  ctx->stream.avail_out = static_cast<uInt>(conf.buffers_size);
  return kOk;
}

void finish(Request* r, GzipCtx* ctx) {
  ctx->total_in = ctx->stream.total_in;
  ctx->total_out = ctx->stream.total_out;
  end_stream(ctx);
  Buf* b = ctx->out_buf;
  if (b->size() == 0) b->temporary = false;
  b->last_buf = true;
  put_out(r, ctx, b);
  ctx->stream.avail_in = ctx->stream.avail_out = 0;
  ctx->done = true;
  r->conn->buffered_bits &= ~kGzipBuffered;
}

// kOk: there is output to send; kAgain: go on; kError.
int compress(Request* r, GzipCtx* ctx) {
  z_stream& z = ctx->stream;
  int rc = deflate(&z, ctx->flush);
  if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) {
    log_write(r->conn->log, r->conn, kLogAlert, 0, "deflate() failed: %d, %d", ctx->flush, rc);
    return kError;
  }
  if (z.next_in) {
    ctx->in_buf->pos = reinterpret_cast<char*>(z.next_in);
    if (z.avail_in == 0) z.next_in = nullptr;
  }
  Buf* b = ctx->out_buf;
  b->last = reinterpret_cast<char*>(z.next_out);
  if (z.avail_out == 0 && rc != Z_STREAM_END) {
    put_out(r, ctx, b);  // there is more to come
    ctx->redo = true;
    return kAgain;
  }
  ctx->redo = false;
  if (ctx->flush == Z_SYNC_FLUSH) {
    ctx->flush = Z_NO_FLUSH;
    if (b->size() == 0)
      b = make_buf(*r->pool);
    else
      z.avail_out = 0;
    b->flush = true;
    put_out(r, ctx, b);
    r->conn->buffered_bits &= ~kGzipBuffered;
    return kOk;
  }
  if (rc == Z_STREAM_END) {
    finish(r, ctx);
    return kOk;
  }
  if (r->loc->gzip->no_buffer && !ctx->in && b->size()) {
    put_out(r, ctx, b);
    z.avail_out = 0;
    return kOk;
  }
  return kAgain;
}

// What has been given on is busy until it is sent; then its buffers can be filled again.
void update_chains(GzipCtx* ctx) {
  Chain** end = &ctx->busy;
  while (*end) end = &(*end)->next;
  *end = ctx->out;
  ctx->out = nullptr;
  ctx->out_end = &ctx->out;
  while (Chain* c = ctx->busy) {
    Buf* b = c->buf;
    if (b->size() != 0) break;
    ctx->busy = c->next;
    if (b->tag != &kTag) {
      c->next = ctx->free_links;
      ctx->free_links = c;
      continue;
    }
    b->pos = b->last = b->start;
    b->flush = false;
    c->next = ctx->free;
    ctx->free = c;
  }
}

// Compresses what is there until that is used up or there is something to send. False: it failed.
bool work(Request* r, GzipCtx* ctx) {
  for (;;) {
    int rc = add_data(ctx);
    if (rc == kDeclined) return true;
    if (rc == kAgain) continue;
    if (get_buf(r, ctx) == kDeclined) return true;
    rc = compress(r, ctx);
    if (rc == kError) return false;
    if (rc == kOk) return true;
  }
}

int fail(GzipCtx* ctx) {
  ctx->done = true;
  end_stream(ctx);
  return kError;
}

}  // namespace

int gzip_header_filter(Request* r) {
  const GzipConf* conf = r->loc->gzip.get();
  HeadersOut& out = r->headers_out;
  if (!conf || !conf->on || (out.status != 200 && out.status != 403 && out.status != 404) ||
      (out.content_encoding && !out.content_encoding->value.empty()) ||
      (out.content_length_n != -1 && out.content_length_n < conf->min_length) ||
      (!conf->any_type && !has_type(r, conf->types)) || r->header_only)
    return next_header(r, Slot::kGzip);
  r->gzip_vary = true;
  if (!gzip_ok(r)) return next_header(r, Slot::kGzip);

  auto* ctx = new (r->pool->alloc(sizeof(GzipCtx))) GzipCtx;
  r->pool->on_destroy(end_stream, ctx);
  r->ctx[Request::kCtxGzip] = ctx;
  r->filters |= slot_bit(Slot::kGzip);
  choose_memory(r, *conf, ctx);
  add_header_out(r, "Content-Encoding", "gzip");
  r->main_filter_need_in_memory = true;
  clear_content_length(r);
  clear_accept_ranges(r);
  weak_etag(r);
  return next_header(r, Slot::kGzip);
}

int gzip_body_filter(Request* r, Chain* in) {
  GzipCtx* ctx = ctx_of(r);
  if (!ctx || ctx->done || r->header_only) return next_body(r, Slot::kGzip, in);
  log_write(r->conn->log, r->conn, kLogDebug, 0, "http gzip filter");
  if (!ctx->started && !start(r, ctx)) return fail(ctx);
  if (in) {
    chain_add_copy(*r->pool, &ctx->in, in);
    r->conn->buffered_bits |= kGzipBuffered;
  }
  bool flush = ctx->busy != nullptr;
  if (ctx->starved) {
    if (next_body(r, Slot::kGzip, nullptr) == kError) return fail(ctx);
    update_chains(ctx);
    ctx->starved = flush = false;
  }
  for (;;) {
    if (!work(r, ctx)) return fail(ctx);
    if (!ctx->out && !flush) return ctx->busy ? kAgain : kOk;
    int rc = next_body(r, Slot::kGzip, ctx->out);
    if (rc == kError) return fail(ctx);
    update_chains(ctx);
    ctx->starved = flush = false;
    if (ctx->done) return rc;
  }
}

bool gzip_sizes(const Request* r, uint64_t* in, uint64_t* out) {
  const GzipCtx* ctx = ctx_of(r);
  if (!ctx || !ctx->total_out) return false;
  *in = ctx->total_in;
  *out = ctx->total_out;
  return true;
}

}  // namespace moonphase::http
