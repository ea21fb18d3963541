// Content-Encoding: gzip, on the way out (ngx_http_gzip_filter_module).
#include "http/connection.h"
#include "http/gzip.h"
#include "http/zlib_chain.h"

namespace moonphase::http {

namespace {

struct GzipCtx : ZlibChain {
  int window_bits = 15, memory_level = 8;
  uint64_t total_in = 0, total_out = 0;
};

GzipCtx* ctx_of(const Request* r) { return static_cast<GzipCtx*>(r->ctx[Request::kCtxGzip]); }

void end_stream(void* p) {
  auto* z = static_cast<ZlibChain*>(p);
  if (z->started) deflateEnd(&z->stream);
  z->started = false;
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

bool start(Request* r, ZlibChain* z) {
  auto* ctx = static_cast<GzipCtx*>(z);
  int rc = deflateInit2(&z->stream, r->loc->gzip->level, Z_DEFLATED, ctx->window_bits + 16,
                        ctx->memory_level, Z_DEFAULT_STRATEGY);
  if (rc != Z_OK) {
    log_write(r->conn->log, r->conn, kLogAlert, 0, "deflateInit2() failed: %d", rc);
    return false;
  }
  z->started = true;
  return true;
}

void finish(Request* r, GzipCtx* ctx) {
  ctx->total_in = ctx->stream.total_in;
  ctx->total_out = ctx->stream.total_out;
  end_stream(ctx);
  Buf* b = ctx->out_buf;
  if (b->size() == 0) b->temporary = false;
  b->last_buf = true;
  ctx->put_out(r, b);
  ctx->stream.avail_in = ctx->stream.avail_out = 0;
  ctx->done = true;
  r->conn->buffered_bits &= ~kGzipBuffered;
}

int compress(Request* r, ZlibChain* z) {
  int rc = deflate(&z->stream, z->flush);
  if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) {
    log_write(r->conn->log, r->conn, kLogAlert, 0, "deflate() failed: %d, %d", z->flush, rc);
    return kError;
  }
  z->advance();
  Buf* b = z->out_buf;
  if (z->stream.avail_out == 0 && rc != Z_STREAM_END) {
    z->put_out(r, b);  // there is more to come
    z->redo = true;
    return kAgain;
  }
  z->redo = false;
  if (z->flush == Z_SYNC_FLUSH) {
    z->put_flushed(r);
    r->conn->buffered_bits &= ~kGzipBuffered;
    return kOk;
  }
  if (rc == Z_STREAM_END) {
    finish(r, static_cast<GzipCtx*>(z));
    return kOk;
  }
  if (r->loc->gzip->no_buffer && !z->in && b->size()) {
    z->put_out(r, b);
    z->stream.avail_out = 0;
    return kOk;
  }
  return kAgain;
}

constexpr ZlibChain::Kind kGzip{Slot::kGzip, "gzip", false, start, compress, end_stream};

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
  r->pool->on_destroy(end_stream, static_cast<ZlibChain*>(ctx));
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
  if (in) r->conn->buffered_bits |= kGzipBuffered;
  const GzipConf& conf = *r->loc->gzip;
  return ctx->filter(r, kGzip, conf.buffers_number, conf.buffers_size, in);
}

bool gzip_sizes(const Request* r, uint64_t* in, uint64_t* out) {
  const GzipCtx* ctx = ctx_of(r);
  if (!ctx || !ctx->total_out) return false;
  *in = ctx->total_in;
  *out = ctx->total_out;
  return true;
}

}  // namespace moonphase::http
