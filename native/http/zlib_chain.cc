#include "http/zlib_chain.h"

#include "http/connection.h"

namespace moonphase::http {

namespace {
const char kTag = 0;
}

void ZlibChain::put_out(Request* r, Buf* b) {
  Chain* c = free_links;
  if (c) {
    free_links = c->next;
    *c = {b, nullptr};
  } else {
    c = make_chain(*r->pool, b);
  }
  *out_end = c;
  out_end = &c->next;
}

void ZlibChain::advance() {
  if (stream.next_in) {
    in_buf->pos = reinterpret_cast<char*>(stream.next_in);
    if (stream.avail_in == 0) stream.next_in = nullptr;
  }
  out_buf->last = reinterpret_cast<char*>(stream.next_out);
}

void ZlibChain::put_flushed(Request* r) {
  flush = Z_NO_FLUSH;
  Buf* b = out_buf;
  if (b->size() == 0)
    b = make_buf(*r->pool);
  else
    stream.avail_out = 0;
  b->flush = true;
  put_out(r, b);
}

// Feeds zlib. kOk: it has something to do; kAgain: that buffer was empty; kDeclined: nothing is
// there.
int ZlibChain::add_data(bool whole_chains) {
  if (stream.avail_in || flush != Z_NO_FLUSH || redo) return kOk;
  Chain* c = in;
  if (!c) return kDeclined;
  in = c->next;
  Buf* b = in_buf = c->buf;
  c->next = free_links;
  free_links = c;
  stream.next_in = reinterpret_cast<Bytef*>(b->pos);
  stream.avail_in = static_cast<uInt>(b->last - b->pos);
  if (b->last_buf || (whole_chains && b->last_in_chain))
    flush = Z_FINISH;
  else if (b->flush)
    flush = Z_SYNC_FLUSH;
  else if (stream.avail_in == 0)
    return kAgain;
  return kOk;
}

// Room for zlib's output; false: all buffers are on their way.
bool ZlibChain::get_buf(Request* r, int most, size_t size) {
  if (stream.avail_out) return true;
  if (Chain* c = free) {
    free = c->next;
    out_buf = c->buf;
    c->next = free_links;
    free_links = c;
  } else if (bufs < most) {
    Buf* b = out_buf = make_buf(*r->pool);
    b->start = r->pool->bytes(size);
    b->end = b->start + size;
    b->pos = b->last = b->start;
    b->tag = &kTag;
    b->temporary = true;
    b->recycled = true;
    ++bufs;
  } else {
    starved = true;
    return false;
  }
  stream.next_out = reinterpret_cast<Bytef*>(out_buf->pos);
  stream.avail_out = static_cast<uInt>(size);
  return true;
}

// What has been given on is busy until it is sent; then its buffers can be filled again.
void ZlibChain::update_chains() {
  Chain** end = &busy;
  while (*end) end = &(*end)->next;
  *end = out;
  out = nullptr;
  out_end = &out;
  while (Chain* c = busy) {
    Buf* b = c->buf;
    if (b->size() != 0) break;
    busy = c->next;
    if (b->tag != &kTag) {
      c->next = free_links;
      free_links = c;
      continue;
    }
    b->pos = b->last = b->start;
    b->flush = false;
    c->next = free;
    free = c;
  }
}

// Works on what is there until that is used up or there is something to send. False: it failed.
bool ZlibChain::work(Request* r, const Kind& kind, int most, size_t size) {
  for (;;) {
    int rc = add_data(kind.whole_chains);
    if (rc == kDeclined) return true;
    if (rc == kAgain) continue;
    if (!get_buf(r, most, size)) return true;
    rc = kind.step(r, this);
    if (rc == kError) return false;
    if (rc == kOk) return true;
  }
}

int ZlibChain::end_step(Request* r) {
  if (in) return kAgain;
  if (out_buf->size()) {
    stream.avail_out = 0;
    put_out(r, out_buf);
  }
  return kOk;
}

int ZlibChain::fail(const Kind& kind) {
  done = true;
  kind.end(this);
  return kError;
}

int ZlibChain::filter(Request* r, const Kind& kind, int most, size_t size, Chain* data) {
  log_write(r->conn->log, r->conn, kLogDebug, 0, "http %s filter", kind.name);
  if (!started && !kind.start(r, this)) return fail(kind);
  if (data) chain_add_copy(*r->pool, &in, data);
  bool push = busy != nullptr;
  if (starved) {
    if (next_body(r, kind.slot, nullptr) == kError) return fail(kind);
    update_chains();
    starved = push = false;
  }
  for (;;) {
    if (!work(r, kind, most, size)) return fail(kind);
    if (!out && !push) return busy ? kAgain : kOk;
    int rc = next_body(r, kind.slot, out);
    if (rc == kError) return fail(kind);
    update_chains();
    starved = push = false;
    if (done) return rc;
  }
}

}  // namespace moonphase::http
