// For filters that look at bytes (body_filter_by_lua, captures): what lies in files is read into memory, piece by piece.
#include <unistd.h>

#include <cerrno>

#include "http/connection.h"
#include "http/filters.h"

namespace moonphase::http {

namespace {

constexpr size_t kPiece = 32768;  // nginx's output_buffers

struct Pass {
  Request* r;
  bool again = false;

  int down(Chain* in) {
    int rc = next_body(r, Slot::kCopy, in);
    if (rc == kAgain) again = true;
    return rc;
  }

  int file(Buf* b) {
    Buf* piece = nullptr;
    while (b->file_pos < b->file_last) {
      // One that the filters behind still hold is theirs.
      if (!piece || piece->pos != piece->last) piece = new_piece(static_cast<size_t>(b->file_last - b->file_pos));
      piece->pos = piece->start;
      size_t room = static_cast<size_t>(piece->end - piece->start);
      if (static_cast<off_t>(room) > b->file_last - b->file_pos) room = static_cast<size_t>(b->file_last - b->file_pos);
      ssize_t n = pread(b->file->fd, piece->start, room, b->file_pos);
      if (n <= 0) {
        Connection* c = r->conn;
        log_write(c->log, c, kLogCrit, n < 0 ? errno : 0, "pread() \"%.*s\" failed", STR(b->file->name));
        return kError;
      }
      piece->last = piece->start + n;
      b->file_pos += n;
      if (b->file_pos == b->file_last) {
        piece->flush = b->flush;
        piece->sync = b->sync;
        piece->last_buf = b->last_buf;
        piece->last_in_chain = b->last_in_chain;
      }
      int rc = down(make_chain(*r->pool, piece));
      if (rc == kError) return rc;
    }
    return kOk;
  }

  Buf* new_piece(size_t rest) {
    Buf* b = make_buf(*r->pool);
    size_t size = rest < kPiece ? rest : kPiece;
    b->start = r->pool->bytes(size);
    b->end = b->start + size;
    b->temporary = true;
    return b;
  }
};

bool is_file(const Buf* b) { return b->in_file && !b->in_memory() && b->file_pos < b->file_last; }

}  // namespace

int copy_body_filter(Request* r, Chain* in) {
  bool needed = r->filter_need_in_memory || r->main_filter_need_in_memory;
  bool any = false;
  for (Chain* c = in; needed && c && !any; c = c->next) any = is_file(c->buf);
  if (!any) return next_body(r, Slot::kCopy, in);

  Pass pass{r};
  while (in) {
    if (is_file(in->buf)) {
      if (pass.file(in->buf) == kError) return kError;
      in = in->next;
      continue;
    }
    // A run of what needs no reading goes down in one chain.
    Chain* run = nullptr;
    Chain** end = &run;
    for (; in && !is_file(in->buf); in = in->next) {
      *end = make_chain(*r->pool, in->buf);
      end = &(*end)->next;
    }
    if (pass.down(run) == kError) return kError;
  }
  return pass.again ? kAgain : kOk;
}

}  // namespace moonphase::http
