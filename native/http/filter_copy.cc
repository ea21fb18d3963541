// Files that a filter behind wants to see in memory are read, piece by piece
// (ngx_http_copy_filter).
#include <errno.h>
#include <unistd.h>

#include "http/connection.h"
#include "http/filters.h"

namespace moonphase::http {

namespace {

constexpr size_t kPiece = 32768;  // output_buffers 2 32k
constexpr int kPieces = 2;

struct CopyCtx {
  Chain* in = nullptr;  // still to be passed on
  Buf* pieces[kPieces] = {};
};

bool wanted(const Request* r, const Buf* b) {
  return b->in_file && !b->in_memory() &&
         (r->filter_need_in_memory || r->main_filter_need_in_memory);
}

// A buffer that the filters behind have used up, or a new one; null: all are on their way.
Buf* free_piece(Request* r, CopyCtx* ctx) {
  for (Buf*& b : ctx->pieces) {
    if (!b) {
      b = make_buf(*r->pool);
      b->start = r->pool->bytes(kPiece);
      b->end = b->start + kPiece;
      b->pos = b->last = b->start;
    }
    if (b->pos != b->last) continue;
    char* start = b->start;
    char* end = b->end;
    *b = Buf();
    b->start = b->pos = b->last = start;
    b->end = end;
    b->temporary = true;
    return b;
  }
  return nullptr;
}

// Moves the next bytes of a file; false: it cannot be read (logged).
bool read_piece(Request* r, Buf* from, Buf* to) {
  auto left = static_cast<size_t>(from->file_last - from->file_pos);
  size_t n = left < kPiece ? left : kPiece;
  while (n) {
    ssize_t got = pread(from->file->fd, to->last, n, from->file_pos);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      Connection* c = r->conn;
      log_write(
          c->log, c, kLogCrit, got < 0 ? errno : 0,
          got < 0 ? "pread() \"%.*s\" failed" : "pread() \"%.*s\" returned less than the file has",
          STR(from->file->name));
      return false;
    }
    to->last += got;
    from->file_pos += got;
    n -= static_cast<size_t>(got);
  }
  if (from->file_pos == from->file_last) {
    to->last_buf = from->last_buf;
    to->last_in_chain = from->last_in_chain;
    to->flush = from->flush;
    to->sync = from->sync;
  }
  return true;
}

}  // namespace

int copy_body_filter(Request* r, Chain* in) {
  auto* ctx = static_cast<CopyCtx*>(r->ctx[Request::kCtxCopy]);
  if (!ctx) {
    bool any = false;
    if (r->filter_need_in_memory || r->main_filter_need_in_memory)
      for (Chain* c = in; c; c = c->next) any |= wanted(r, c->buf);
    if (!any) return next_body(r, Slot::kCopy, in);
    r->ctx[Request::kCtxCopy] = ctx = r->pool->make<CopyCtx>();
  }
  if (in) chain_add_copy(*r->pool, &ctx->in, in);
  if (!ctx->in) return next_body(r, Slot::kCopy, nullptr);

  int rc = kOk;
  bool pushed = false;
  while (Chain* first = ctx->in) {
    Chain piece;
    if (!wanted(r, first->buf)) {
      ctx->in = first->next;
      piece.buf = first->buf;
    } else {
      piece.buf = free_piece(r, ctx);
      if (!piece.buf && !pushed) {
        // A filter behind may hold them back: it goes on once it can send.
        pushed = true;
        if ((rc = next_body(r, Slot::kCopy, nullptr)) == kError) return rc;
        piece.buf = free_piece(r, ctx);
      }
      if (!piece.buf) break;
      if (!read_piece(r, first->buf, piece.buf)) return kError;
      if (first->buf->file_pos == first->buf->file_last) ctx->in = first->next;
    }
    rc = next_body(r, Slot::kCopy, &piece);
    if (rc == kError) return rc;
  }
  if (ctx->in) {
    r->buffered_bits |= kCopyBuffered;
    return kAgain;
  }
  r->buffered_bits &= ~kCopyBuffered;
  return rc;
}

}  // namespace moonphase::http
