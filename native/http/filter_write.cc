// The end of the body filters: holds small pieces back, keeps to limit_rate, hands the rest to the
// connection.
#include "http/connection.h"
#include "http/filters.h"

namespace moonphase::http {

namespace {

struct Summary {
  off_t size = 0;
  bool flush = false, sync = false, last = false;
  const Buf* wrong = nullptr;

  void add(const Chain* c) {
    for (; c; c = c->next) {
      const Buf* b = c->buf;
      off_t n = b->size();
      if (n <= 0 && (n < 0 || !b->special())) wrong = b;
      size += n;
      flush |= b->flush || b->recycled;
      sync |= b->sync;
      last |= b->last_buf;
    }
  }
};

Chain* new_link(Request* r, Buf* b) {
  Chain* c = r->free_links;
  if (!c) return make_chain(*r->pool, b);
  r->free_links = c->next;
  *c = {b, nullptr};
  return c;
}

Chain** end_of(Chain** chain) {
  while (*chain) chain = &(*chain)->next;
  return chain;
}

// Links of `in` may lie on a caller's stack: what is kept gets links of its own.
void keep(Request* r, const Chain* in) {
  Chain** end = end_of(&r->out);
  for (; in; in = in->next) {
    *end = new_link(r, in->buf);
    end = &(*end)->next;
  }
}

void release_until(Request* r, const Chain* stop) {
  while (r->out != stop) {
    Chain* c = r->out;
    r->out = c->next;
    c->next = r->free_links;
    r->free_links = c;
  }
}

bool is_link_of(const Chain* chain, const Chain* link) {
  while (chain && chain != link) chain = chain->next;
  return chain;
}

void set_rate(Request* r) {
  if (!r->limit_rate_set) {
    r->limit_rate = static_cast<uint64_t>(evaluate_size(r, r->loc->limit_rate));
    r->limit_rate_set = true;
  }
  if (r->limit_rate && !r->limit_rate_after_set) {
    r->limit_rate_after = static_cast<uint64_t>(evaluate_size(r, r->loc->limit_rate_after));
    r->limit_rate_after_set = true;
  }
}

int64_t beyond(int64_t sent, uint64_t after) {
  int64_t n = sent - static_cast<int64_t>(after);
  return n > 0 ? n : 0;
}

}  // namespace

int write_filter(Request* r, Chain* in) {
  Connection* c = r->conn;
  if (c->error) return kError;
  Summary s;
  s.add(r->out);
  s.add(in);
  if (s.wrong) {
    log_write(c->log, c, kLogAlert, 0, "%s size buf in writer t:%d r:%d f:%d",
              s.wrong->size() < 0 ? "negative" : "zero", s.wrong->temporary, s.wrong->recycled,
              s.wrong->in_file);
    return kError;
  }

  if (!s.last && !s.flush && in && s.size < static_cast<off_t>(r->loc->postpone_output)) {
    keep(r, in);
    return kOk;
  }
  if (c->write_delayed) {
    keep(r, in);
    c->buffered_bits |= kWriteBuffered;
    return kAgain;
  }
  bool behind = c->output_pending() && !c->corked;
  if (s.size == 0 && !behind && !(s.last && c->need_last_buf)) {
    if (!s.last && !s.flush && !s.sync) {
      log_write(c->log, c, kLogAlert, 0, "the http output chain is empty");
      return kError;
    }
    release_until(r, nullptr);
    c->buffered_bits &= ~kWriteBuffered;
    if (s.last) r->response_sent = true;
    return kOk;
  }

  int64_t limit = 0;
  set_rate(r);
  auto rate = static_cast<int64_t>(r->limit_rate);
  if (rate) {
    limit = rate * (now().wall_sec() - r->start_sec + 1) -
            (c->sent - static_cast<int64_t>(r->limit_rate_after));
    if (limit <= 0) {
      keep(r, in);
      c->write_delayed = true;
      c->set_write_timeout(-limit * 1000 / rate + 1);
      c->buffered_bits |= kWriteBuffered;
      return kAgain;
    }
  }
  int64_t most = r->loc->sendfile_max_chunk;
  if (most && s.size > most && (!limit || most < limit)) limit = most;

  // Links of `in` follow ours for the time of the call only.
  Chain** joint = end_of(&r->out);
  *joint = in;
  int64_t sent = c->sent;
  Chain* left = c->send(r->out, limit);
  *joint = nullptr;
  if (c->error) return kError;
  if (rate) {
    int64_t delay =
        (beyond(c->sent, r->limit_rate_after) - beyond(sent, r->limit_rate_after)) * 1000 / rate;
    if (delay > 0) {
      c->write_delayed = true;
      c->set_write_timeout(delay + 1);  // the clock counts whole milliseconds
    }
  }
  if (!left) {
    release_until(r, nullptr);
  } else if (is_link_of(r->out, left)) {
    release_until(r, left);
    keep(r, in);
  } else {
    release_until(r, nullptr);
    keep(r, left);
  }
  if (r->out) {
    c->buffered_bits |= kWriteBuffered;
    return kAgain;
  }
  if (c->output_pending() && !c->corked) {
    // Answers before this one are still on their way; so is the end of this one.
    c->buffered_bits |= kWriteBuffered;
    return kAgain;
  }
  c->buffered_bits &= ~kWriteBuffered;
  if (s.last) r->response_sent = true;
  return kOk;
}

int write_header(Request* r, char* start, char* end) {
  r->header_size = end - start;
  Buf* b = make_buf(*r->pool);
  b->start = b->pos = start;
  b->last = b->end = end;
  b->temporary = true;
  if (r->header_only) b->last_buf = true;
  if (!r->out && !b->last_buf && !r->conn->error &&
      b->size() < static_cast<off_t>(r->loc->postpone_output)) {
    r->out = new_link(r, b);
    return kOk;
  }
  Chain chain{b, nullptr};
  return write_filter(r, &chain);
}

}  // namespace moonphase::http
