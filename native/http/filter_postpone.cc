// The order of subrequests' output: what is not at its turn waits.
#include "http/connection.h"
#include "http/filters.h"

namespace moonphase::http {

namespace {

void postpone(Request* r, Chain* in) {
  Postponed** end = &r->postponed;
  Postponed* last = nullptr;
  for (; *end; end = &(*end)->next) last = *end;
  if (!last || last->request) {
    *end = r->pool->make<Postponed>();
    last = *end;
  }
  chain_add_copy(*r->pool, &last->out, in);
}

int collect(Request* r, Chain* in) {
  Connection* c = r->conn;
  if (!r->out) {
    size_t room = r->loc->subrequest_output_buffer_size;
    int64_t length = r->headers_out.content_length_n;
    if (length != -1) {
      if (length > static_cast<int64_t>(room)) {
        log_write(c->log, c, kLogErr, 0, "too big subrequest response: %lld",
                  static_cast<long long>(length));
        return kError;
      }
      room = static_cast<size_t>(length);
    }
    Buf* b = make_buf(*r->pool);
    b->start = b->pos = b->last = r->pool->bytes(room);
    b->end = b->start + room;
    b->temporary = true;
    b->last_buf = true;
    r->out = make_chain(*r->pool, b);
  }
  Buf* b = r->out->buf;
  for (; in; in = in->next) {
    if (in->buf->special()) continue;
    auto n = static_cast<size_t>(in->buf->last - in->buf->pos);
    if (n > static_cast<size_t>(b->end - b->last)) {
      log_write(c->log, c, kLogErr, 0, "too big subrequest response");
      return kError;
    }
    b->last = put_bytes(b->last, in->buf->bytes());
    in->buf->pos = in->buf->last;
  }
  return kOk;
}

}  // namespace

int postpone_body_filter(Request* r, Chain* in) {
  Connection* c = r->conn;
  if (r->subrequest_in_memory) return collect(r, in);
  if (r != c->active) {
    if (in) postpone(r, in);
    return kOk;
  }
  if (!r->postponed) {
    if (in || c->buffered_bits) return next_body(r->main, Slot::kPostpone, in);
    return kOk;
  }
  if (in) postpone(r, in);
  do {
    Postponed* p = r->postponed;
    if (p->request) {
      r->postponed = p->next;
      c->active = p->request;
      c->server->hooks.post_request(p->request);
      return kOk;
    }
    if (!p->out)
      log_write(c->log, c, kLogAlert, 0, "http postpone filter NULL output");
    else if (next_body(r->main, Slot::kPostpone, p->out) == kError)
      return kError;
    r->postponed = p->next;
  } while (r->postponed);
  return kOk;
}

}  // namespace moonphase::http
