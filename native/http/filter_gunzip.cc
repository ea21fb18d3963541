// gunzip: for clients that do not take gzip, answers that come in it
// (ngx_http_gunzip_filter_module).
#include <strings.h>

#include "http/connection.h"
#include "http/gzip.h"
#include "http/zlib_chain.h"

namespace moonphase::http {

namespace {

ZlibChain* ctx_of(const Request* r) { return static_cast<ZlibChain*>(r->ctx[Request::kCtxGunzip]); }

void end_stream(void* p) {
  auto* z = static_cast<ZlibChain*>(p);
  if (z->started) inflateEnd(&z->stream);
  z->started = false;
}

bool start(Request* r, ZlibChain* z) {
  int rc = inflateInit2(&z->stream, MAX_WBITS + 16);
  if (rc != Z_OK) {
    log_write(r->conn->log, r->conn, kLogAlert, 0, "inflateInit2() failed: %d", rc);
    return false;
  }
  z->started = true;
  return true;
}

void finish(Request* r, ZlibChain* z) {
  end_stream(z);
  Buf* b = z->out_buf;
  if (b->size() == 0) b->temporary = false;
  b->last_buf = r->is_main();
  b->last_in_chain = true;
  b->sync = true;
  z->put_out(r, b);
  z->stream.avail_in = z->stream.avail_out = 0;
  z->done = true;
}

int decompress(Request* r, ZlibChain* z) {
  int rc = inflate(&z->stream, z->flush);
  if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) {
    log_write(r->conn->log, r->conn, kLogErr, 0, "inflate() failed: %d, %d", z->flush, rc);
    return kError;
  }
  z->advance();
  Buf* b = z->out_buf;
  if (z->stream.avail_out == 0) {
    z->put_out(r, b);  // there is more to come
    z->redo = true;
    return kAgain;
  }
  z->redo = false;
  if (z->flush == Z_SYNC_FLUSH) {
    z->put_flushed(r);
    return kOk;
  }
  if (z->flush == Z_FINISH && z->stream.avail_in == 0) {
    if (rc != Z_STREAM_END) {
      log_write(r->conn->log, r->conn, kLogErr, 0, "inflate() returned %d on response end", rc);
      return kError;
    }
    finish(r, z);
    return kOk;
  }
  if (rc == Z_STREAM_END && z->stream.avail_in > 0) {  // another member follows
    if ((rc = inflateReset(&z->stream)) != Z_OK) {
      log_write(r->conn->log, r->conn, kLogAlert, 0, "inflateReset() failed: %d", rc);
      return kError;
    }
    z->redo = true;
    return kAgain;
  }
  return z->end_step(r);
}

constexpr ZlibChain::Kind kGunzip{Slot::kGunzip, "gunzip", true, start, decompress, end_stream};

}  // namespace

int gunzip_header_filter(Request* r) {
  const GzipConf* conf = r->loc->gzip.get();
  Header* encoding = r->headers_out.content_encoding;
  if (!conf || !conf->gunzip || !encoding || encoding->value.size() != 4 ||
      strncasecmp(encoding->value.data(), "gzip", 4) != 0)
    return next_header(r, Slot::kGunzip);
  r->gzip_vary = true;
  if (gzip_ok(r)) return next_header(r, Slot::kGunzip);

  auto* ctx = new (r->pool->alloc(sizeof(ZlibChain))) ZlibChain;
  r->pool->on_destroy(end_stream, ctx);
  r->ctx[Request::kCtxGunzip] = ctx;
  r->filters |= slot_bit(Slot::kGunzip);
  r->filter_need_in_memory = true;
  encoding->hash = 0;
  r->headers_out.content_encoding = nullptr;
  clear_content_length(r);
  clear_accept_ranges(r);
  weak_etag(r);
  return next_header(r, Slot::kGunzip);
}

int gunzip_body_filter(Request* r, Chain* in) {
  ZlibChain* ctx = ctx_of(r);
  if (!ctx || ctx->done) return next_body(r, Slot::kGunzip, in);
  const GzipConf& conf = *r->loc->gzip;
  return ctx->filter(r, kGunzip, conf.gunzip_buffers_number, conf.gunzip_buffers_size, in);
}

}  // namespace moonphase::http
