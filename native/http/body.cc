// The client's body, read.
#include "http/body.h"

#include <strings.h>

#include "http/chunked.h"
#include "http/connection.h"

namespace moonphase::http {

namespace {

void read_handler(Request* r);
void empty_handler(Request*) {}

void append(Request* r, Buf* b) {
  Chain** end = &r->body->bufs;
  while (*end) end = &(*end)->next;
  *end = make_chain(*r->pool, b);
  if (b->last_buf) r->body->last_saved = true;
  if (!r->request_body_no_buffering) return;
  Chain* link = r->body->links;
  if (link)
    r->body->links = link->next;
  else
    link = make_chain(*r->pool, nullptr);
  *link = {b, r->body->busy};
  r->body->busy = link;
}

// A buffer that was used up, or a new one.
Buf* fresh_buf(Request* r) {
  Chain* used = r->body->free;
  if (!used) return make_buf(*r->pool);
  r->body->free = used->next;
  used->next = r->body->links;
  r->body->links = used;
  *used->buf = Buf();
  return used->buf;
}

Buf* part_of(Request* r, Buf* whole, char* from) {
  Buf* b = fresh_buf(r);
  b->temporary = true;
  b->start = b->pos = b->last = from;
  b->end = whole->end;
  b->flush = r->request_body_no_buffering;
  return b;
}

// Everything is there, or the buffer is full: into the file, if it has to be.
int save(Request* r) {
  Body* body = r->body;
  if (r->request_body_no_buffering) return kOk;
  if (body->rest > 0) {
    bool full = body->bufs && body->buf && body->buf->last == body->buf->end;
    return full && write_body_file(r) != kOk ? 500 : static_cast<int>(kOk);
  }
  if (!body->last_saved || (!body->temp_file && !r->request_body_in_file_only)) return kOk;
  if (write_body_file(r) != kOk) return 500;
  if (body->temp_file->offset) {
    Buf* b = make_buf(*r->pool);
    b->in_file = true;
    b->file = body->temp_file;
    b->file_last = body->temp_file->offset;
    b->last_buf = true;
    body->bufs = make_chain(*r->pool, b);
  }
  return kOk;
}

int take_length(Request* r, Buf* in) {
  Body* body = r->body;
  if (body->rest == -1) {
    body->rest = r->headers_in.content_length_n;
    if (body->rest == 0) {
      Buf* b = make_buf(*r->pool);
      b->last_buf = true;
      append(r, b);
    }
  }
  if (in && body->rest) {
    int64_t n = in->last - in->pos;
    if (n > body->rest) n = body->rest;
    Buf* b = part_of(r, in, in->pos);
    in->pos += n;
    b->last = in->pos;
    body->rest -= n;
    body->received += n;
    b->last_buf = body->rest == 0;
    append(r, b);
  }
  return save(r);
}

struct Decoding {
  Request* r;
  Buf* in;
  Buf* out = nullptr;
  uint64_t refused = 0;
};

int take_chunked(Request* r, Buf* in) {
  Body* body = r->body;
  if (body->rest == -1) {
    body->chunked = new (r->pool->alloc(sizeof(ChunkDecoder))) ChunkDecoder;
    body->chunked->init();
    r->headers_in.content_length_n = 0;
    body->rest = 1;
  }
  if (in) {
    Decoding d{r, in};
    ChunkDecoder::Sink sink{[](void* p, uint64_t n) {
                              auto* d = static_cast<Decoding*>(p);
                              int64_t most = d->r->loc->client_max_body_size;
                              int64_t left = most - d->r->headers_in.content_length_n;
                              if (!most || (left >= 0 && n <= static_cast<uint64_t>(left)))
                                return true;
                              d->refused = n;
                              return false;
                            },
                            [](void* p, char* from, size_t n) {
                              auto* d = static_cast<Decoding*>(p);
                              if (!d->out) {
                                d->out = part_of(d->r, d->in, from);
                                append(d->r, d->out);
                              }
                              // What one read gave stays in one buffer: the bytes close up over the
                              // chunk sizes.
                              if (d->out->last != from) std::memmove(d->out->last, from, n);
                              d->out->last += n;
                              d->r->headers_in.content_length_n += static_cast<int64_t>(n);
                              d->r->body->received += static_cast<int64_t>(n);
                            },
                            &d};
    int rc = body->chunked->decode(in->pos, in->last, sink);
    if (rc == kDeclined) {
      log_write(r->conn->log, r->conn, kLogErr, 0,
                "client intended to send too large chunked body: %lld+%llu bytes",
                static_cast<long long>(r->headers_in.content_length_n),
                static_cast<unsigned long long>(d.refused));
      r->lingering_close = true;
      return 413;
    }
    if (rc == kError) {
      log_write(r->conn->log, r->conn, kLogErr, 0, "client sent invalid chunked body");
      return 400;
    }
    if (rc == kDone) {
      body->rest = 0;
      Buf* b = make_buf(*r->pool);
      b->last_buf = true;
      append(r, b);
    }
  }
  return save(r);
}

// The connection says where the body ends: `rest` is 1 until then. ngx_http_v2_filter_request_body.
int take_framed(Request* r, Buf* in) {
  Body* body = r->body;
  const int64_t declared = r->headers_in.content_length_n;
  if (body->rest == -1) {
    body->rest = 1;
    return kOk;
  }
  if (in->pos < in->last) {
    body->received += in->last - in->pos;
    if (declared >= 0 && body->received > declared) {
      log_write(r->conn->log, r->conn, kLogInfo, 0,
                "client intended to send body data larger than declared");
      r->conn->drop_body();
      return 400;
    }
    const int64_t most = r->loc->client_max_body_size;
    if (declared < 0 && most && body->received > most) {
      log_write(r->conn->log, r->conn, kLogErr, 0,
                "client intended to send too large chunked body: %lld bytes",
                static_cast<long long>(body->received));
      r->conn->drop_body();
      return 413;
    }
    Buf* b = part_of(r, in, in->pos);
    b->last = in->pos = in->last;
    append(r, b);
  }
  return save(r);
}

int end_framed(Request* r) {
  Body* body = r->body;
  const int64_t declared = r->headers_in.content_length_n;
  if (declared >= 0 && declared != body->received) {
    log_write(r->conn->log, r->conn, kLogInfo, 0,
              "client prematurely closed stream: only %lld out of %lld bytes of request body "
              "received",
              static_cast<long long>(body->received), static_cast<long long>(declared));
    return 400;
  }
  body->rest = 0;
  if (r->headers_in.chunked) r->headers_in.content_length_n = body->received;
  Buf* b = make_buf(*r->pool);
  b->last_buf = true;
  append(r, b);
  return save(r);
}

// Takes bytes from `in` (null: only begins). kOk or a status.
int take(Request* r, Buf* in) {
  if (r->conn->framed) return take_framed(r, in);
  return r->headers_in.chunked ? take_chunked(r, in) : take_length(r, in);
}

bool used_up(Body* body) {
  for (Chain* c = body->busy; c; c = c->next)
    if (c->buf->in_memory() && c->buf->pos != c->buf->last) return false;
  while (Chain* c = body->busy) {
    body->busy = c->next;
    c->next = body->free;
    body->free = c;
  }
  return true;
}

int complete(Request* r) {
  Body* body = r->body;
  Connection* c = r->conn;
  if (body->buf && body->buf->pos < body->buf->last) {
    Str more = body->buf->bytes();
    c->give_back(more);
    r->request_length -= static_cast<int64_t>(more.size());
    body->buf->last = body->buf->pos;
  }
  c->set_read_timeout(0);
  if (!r->request_body_no_buffering) {
    r->read_event_handler = block_reading;
    body->post_handler(r);
  }
  return kOk;
}

int do_read(Request* r) {
  Connection* c = r->conn;
  Body* body = r->body;
  for (;;) {
    if (body->rest == 0) break;
    Buf* b = body->buf;
    if (b->last == b->end) {
      if (r->request_body_no_buffering && !used_up(body)) {
        c->set_read_timeout(0);
        return kAgain;
      }
      b->pos = b->last = b->start;
    }
    auto size = static_cast<size_t>(b->end - b->last);
    if (!c->framed && !r->headers_in.chunked && static_cast<int64_t>(size) > body->rest)
      size = static_cast<size_t>(body->rest);
    bool buffered = c->rpos < c->rlast;
    ssize_t n = c->recv(b->last, size);
    if (n == 0 && c->framed) {
      if (int rc = end_framed(r)) return rc;
      break;
    }
    if (c->framed && n == net::kIoError) {
      log_write(c->log, c, kLogInfo, 0, "client prematurely closed stream");
      return 499;
    }
    if (n == 0) log_write(c->log, c, kLogInfo, 0, "client prematurely closed connection");
    if (n == 0 || n == net::kIoError) {
      c->error = true;
      return 400;
    }
    if (n > 0) {
      b->last += n;
      r->request_length += n;
      if (int rc = take(r, b)) return rc;
      // A short read has emptied the socket.
      if (body->rest && (c->framed || buffered || static_cast<size_t>(n) == size)) continue;
      if (!body->rest) break;
    }
    c->set_read_timeout(r->loc->client_body_timeout);
    c->want_read(true);
    return kAgain;
  }
  return complete(r);
}

void read_handler(Request* r) {
  Connection* c = r->conn;
  if (c->read_timedout) {
    c->timedout = true;
    c->server->hooks.finalize(r, 408);
    return;
  }
  int rc = do_read(r);
  if (rc >= 300) c->server->hooks.finalize(r, rc);
}

int start(Request* r) {
  Body* body = r->body;
  Connection* c = r->conn;
  size_t room = 0;
  Str preread = c->preread(&room);
  if (!preread.empty()) {
    Buf* in = buf_of(*r->pool, preread);
    if (int rc = take(r, in)) return rc;
    auto taken = static_cast<size_t>(in->pos - preread.data());
    c->consume(taken);
    r->request_length += static_cast<int64_t>(taken);
  } else if (int rc = take(r, nullptr)) {
    return rc;
  }
  if (body->rest == 0 && body->last_saved) {
    r->request_body_no_buffering = false;
    body->post_handler(r);
    return kOk;
  }

  // nginx's sizes: they decide what comes to lie in a file.
  bool chunked = r->headers_in.chunked;
  int64_t size = static_cast<int64_t>(r->loc->client_body_buffer_size);
  bool in_header_buffer = !chunked && !preread.empty() && body->rest <= static_cast<int64_t>(room);
  if (c->framed) {
    const int64_t declared = r->headers_in.content_length_n;
    if (declared >= 0 && declared <= size) size = declared + 1;
  } else if (in_header_buffer || (!chunked && body->rest < size + (size >> 2)))
    size = body->rest;
  if (size < 1) size = 1;
  Buf* b = make_buf(*r->pool);
  b->temporary = true;
  b->start = b->pos = b->last = r->pool->bytes(static_cast<size_t>(size));
  b->end = b->start + size;
  body->buf = b;
  r->read_event_handler = read_handler;
  r->write_event_handler = empty_handler;
  return do_read(r);
}

}  // namespace

int read_body(Request* r, void (*done)(Request*)) {
  ++r->main->count;
  if (!r->is_main() || r->body || r->discard_body) {
    r->request_body_no_buffering = false;
    done(r);
    return kOk;
  }
  int rc;
  if (test_expect(r) != kOk) {
    rc = 500;
  } else {
    r->body = r->pool->make<Body>();
    r->body->post_handler = done;
    if (r->headers_in.content_length_n < 0 && !r->headers_in.chunked) {
      r->request_body_no_buffering = false;
      done(r);
      return kOk;
    }
    bool unbuffered = r->request_body_no_buffering;
    rc = start(r);
    // `start` has called done() when the whole body was there.
    if (unbuffered && r->request_body_no_buffering && (rc == kOk || rc == kAgain)) {
      if (rc == kOk)
        r->request_body_no_buffering = false;
      else
        r->reading_body = true;
      r->read_event_handler = block_reading;
      done(r);
    }
  }
  if (rc >= 300) --r->main->count;
  return rc;
}

int read_unbuffered_body(Request* r) {
  if (r->conn->read_timedout) {
    r->conn->timedout = true;
    return 408;
  }
  int rc = do_read(r);
  if (rc == kOk) r->reading_body = false;
  return rc;
}

int test_expect(Request* r) {
  Header* expect = r->headers_in.expect;
  if (r->expect_tested || !expect || r->http_version < kVersion11 ||
      r->http_version >= kVersion20 || r->conn->hosted)
    return kOk;
  r->expect_tested = true;
  Str v = expect->value;
  if (v.size() != 12 || strncasecmp(v.data(), "100-continue", 12) != 0) return kOk;
  Buf* b = buf_of(*r->pool, "HTTP/1.1 100 Continue\r\n\r\n");
  Chain chain{b, nullptr};
  Connection* c = r->conn;
  // So short a text is sent as a whole, or the client is gone.
  if (c->send(&chain, 0) || c->error) {
    c->error = true;
    return kError;
  }
  return kOk;
}

}  // namespace moonphase::http
