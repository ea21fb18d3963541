// The client's body, thrown away.
#include "http/body.h"
#include "http/chunked.h"
#include "http/connection.h"

namespace moonphase::http {

namespace {

constexpr size_t kWaste = 4096;

// Steps `pos` over body bytes; content_length_n is what is left, 0 at the end. kOk or 400.
int skip(Request* r, char*& pos, char* last) {
  int64_t& left = r->headers_in.content_length_n;
  if (!r->headers_in.chunked) {
    int64_t n = last - pos;
    if (n > left) n = left;
    pos += n;
    left -= n;
    return kOk;
  }
  if (!r->body) {
    r->body = r->pool->make<Body>();
    r->body->chunked = new (r->pool->alloc(sizeof(ChunkDecoder))) ChunkDecoder;
    r->body->chunked->init();
  }
  static constexpr ChunkDecoder::Sink kSink{[](void*, uint64_t) { return true; },
                                            [](void*, char*, size_t) {}, nullptr};
  switch (r->body->chunked->decode(pos, last, kSink)) {
    case kDone:
      left = 0;
      return kOk;
    case kAgain:
      left = kWaste;
      return kOk;
  }
  log_write(r->conn->log, r->conn, kLogErr, 0, "client sent invalid chunked body");
  return 400;
}

// kOk: the body has ended (or the client has); kAgain; a status.
int read_on(Request* r) {
  Connection* c = r->conn;
  char waste[kWaste];
  while (r->headers_in.content_length_n) {
    auto size = kWaste;
    if (r->headers_in.content_length_n < static_cast<int64_t>(size))
      size = static_cast<size_t>(r->headers_in.content_length_n);
    ssize_t n = c->recv(waste, size);
    if (n == net::kIoAgain) return kAgain;
    if (n == net::kIoError) {
      c->error = true;
      return kOk;
    }
    if (n == 0) return kOk;
    char* pos = waste;
    if (int rc = skip(r, pos, waste + n)) return rc;
    c->give_back({pos, static_cast<size_t>(waste + n - pos)});
  }
  r->read_event_handler = block_reading;
  return kOk;
}

}  // namespace

int discard_body(Request* r) {
  if (!r->is_main() || r->discard_body || r->body || r->conn->hosted) return kOk;
  if (test_expect(r) != kOk) return 500;
  Connection* c = r->conn;
  if (c->drop_body()) return kOk;
  c->set_read_timeout(0);
  if (r->headers_in.content_length_n <= 0 && !r->headers_in.chunked) return kOk;
  if (r->headers_in.chunked) r->headers_in.content_length_n = kWaste;
  char* pos = c->rpos;
  if (pos < c->rlast || r->headers_in.chunked) {
    if (int rc = skip(r, pos, c->rlast)) {
      r->headers_in.content_length_n = -1;
      return rc;
    }
    c->rpos = pos;
    if (r->headers_in.content_length_n == 0) return kOk;
  }
  int rc = read_on(r);
  if (rc == kOk) {
    r->lingering_close = false;
    return kOk;
  }
  if (rc >= 300) return rc;
  r->read_event_handler = discarded_body_handler;
  c->want_read(true);
  ++r->count;
  r->discard_body = true;
  return kOk;
}

void discarded_body_handler(Request* r) {
  Connection* c = r->conn;
  auto finalize = c->server->hooks.finalize;
  if (c->read_timedout) {
    c->timedout = true;
    c->error = true;
    finalize(r, kError);
    return;
  }
  int64_t left = 0;
  if (r->lingering_until) {
    left = r->lingering_until - now().monotonic_ms;
    if (left <= 0) {
      r->discard_body = false;
      r->lingering_close = false;
      finalize(r, kError);
      return;
    }
  }
  int rc = read_on(r);
  if (rc == kOk) {
    r->discard_body = false;
    r->lingering_close = false;
    r->lingering_until = 0;
    finalize(r, kDone);
    return;
  }
  if (rc >= 300) {
    c->error = true;
    finalize(r, kError);
    return;
  }
  c->want_read(true);
  if (left)
    c->set_read_timeout(left < r->loc->lingering_timeout ? left : r->loc->lingering_timeout);
}

void linger_discard(Request* r) {
  r = r->main;
  if (!r->discard_body) return;
  r->read_event_handler = discarded_body_handler;
  r->conn->want_read(true);
  r->conn->set_read_timeout(r->loc->lingering_timeout);
  if (!r->lingering_until) r->lingering_until = now().monotonic_ms + r->loc->lingering_time;
}

}  // namespace moonphase::http
