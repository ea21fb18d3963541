// Writing: directly when the socket takes it, gathered when more answers follow in the same turn.
#include <sys/uio.h>

#include <cstdlib>

#include "http/client.h"

namespace moonphase::http {

namespace {

constexpr int kMostVectors = 64;
constexpr off_t kFlat =
    8192;  // answers up to here are copied into one piece: send() is cheaper than sendmsg()

// Moves the chain on by `n` sent bytes; the first buffer that is not used up, or null.
Chain* advance(Chain* in, off_t n) {
  for (; in; in = in->next) {
    Buf* b = in->buf;
    off_t size = b->size();
    if (size && n == 0) return in;
    if (n < size) {
      if (b->in_memory()) b->pos += n;
      if (b->in_file) b->file_pos += n;
      return in;
    }
    n -= size;
    if (b->in_memory()) b->pos = b->last;
    if (b->in_file) b->file_pos = b->file_last;
  }
  return nullptr;
}

}  // namespace

bool Client::flush() {
  while (wpos < wlast) {
    iovec v{wpos, static_cast<size_t>(wlast - wpos)};
    ssize_t n = stream->send(&v, 1);
    if (n == net::kIoAgain) return false;
    if (n < 0) {
      error = true;
      wpos = wlast;
      return false;
    }
    wpos += n;
  }
  pool->recycle_buffer(wbuf, static_cast<size_t>(wend - wbuf));
  wbuf = wpos = wlast = wend = nullptr;
  return true;
}

Chain* Client::send(Chain* in, int64_t limit) {
  if (error) return in;
  off_t total = 0;
  int pieces = 0;
  bool memory = true;
  for (Chain* c = in; c; c = c->next) {
    off_t n = c->buf->size();
    if (!n) continue;
    total += n;
    ++pieces;
    if (!c->buf->in_memory()) memory = false;
  }

  if (corked && memory && request && request->keepalive && !limit) {
    if (total > static_cast<off_t>(wend - wlast) && wbuf) flush();
    if (!wbuf && total <= static_cast<off_t>(kWriteBuffer)) {
      wbuf = wpos = wlast = pool->take_buffer(kWriteBuffer);
      wend = wbuf + kWriteBuffer;
    }
    if (total <= static_cast<off_t>(wend - wlast)) {
      for (Chain* c = in; c; c = c->next) {
        wlast = put_bytes(wlast, c->buf->bytes());
        c->buf->pos = c->buf->last;
      }
      sent += total;
      return nullptr;
    }
  }
  if (output_pending() && !flush()) return in;

  if (limit == 0 || limit > total) limit = total;
  if (memory && pieces > 1 && total <= kFlat && limit == total) {
    char flat[kFlat];
    char* p = flat;
    for (Chain* c = in; c; c = c->next) p = put_bytes(p, c->buf->bytes());
    iovec v{flat, static_cast<size_t>(total)};
    ssize_t n = stream->send(&v, 1);
    if (n == net::kIoAgain) return in;
    if (n < 0) {
      error = true;
      return in;
    }
    sent += n;
    if (n < total) return advance(in, n);
    for (Chain* c = in; c; c = c->next) {
      c->buf->pos = c->buf->last;
      if (c->buf->in_file) c->buf->file_pos = c->buf->file_last;
    }
    return nullptr;
  }

  int64_t done = 0;
  while (in && done < limit) {
    // Skips what carries no bytes.
    if (!in->buf->size()) {
      in = in->next;
      continue;
    }
    ssize_t n;
    int64_t asked = 0;
    if (!in->buf->in_memory()) {
      asked = in->buf->size();
      if (asked > limit - done) asked = limit - done;
      n = stream->sendfile(in->buf->file->fd, in->buf->file_pos, static_cast<size_t>(asked));
      if (n == 0) {
        log_write(log, this, kLogAlert, 0,
                  "sendfile() reported that \"%.*s\" was truncated at %lld",
                  STR(in->buf->file->name), static_cast<long long>(in->buf->file_pos));
        error = true;
        return in;
      }
    } else {
      iovec v[kMostVectors];
      int count = 0;
      for (Chain* c = in; c && count < kMostVectors && asked < limit - done; c = c->next) {
        int64_t size = c->buf->size();
        if (!size) continue;
        if (!c->buf->in_memory()) break;
        if (size > limit - done - asked) size = limit - done - asked;
        v[count++] = {c->buf->pos, static_cast<size_t>(size)};
        asked += size;
      }
      n = stream->send(v, count);
    }
    if (n == net::kIoAgain) break;
    if (n < 0) {
      error = true;
      return in;
    }
    sent += n;
    done += n;
    in = advance(in, n);
    if (n < asked) break;
  }
  // Buffers at the end that carry no bytes are sent, too.
  while (in && !in->buf->size()) in = in->next;
  return in;
}

ssize_t Client::recv(void* buf, size_t n) {
  if (rpos < rlast) {
    auto have = static_cast<size_t>(rlast - rpos);
    if (n > have) n = have;
    std::memcpy(buf, rpos, n);
    rpos += n;
    return static_cast<ssize_t>(n);
  }
  ssize_t got = stream->recv(buf, n);
  read_full = got == static_cast<ssize_t>(n);
  if (got == 0) eof = true;
  if (got == net::kIoError) log_write(log, this, kLogInfo, stream->error(), "recv() failed");
  return got;
}

Str Client::preread(size_t* room) const {
  auto at = static_cast<size_t>(rpos - rbuf);
  auto have = static_cast<size_t>(rlast - rpos);
  size_t most = window_ > at ? window_ - at : 0;
  *room = most > have ? most - have : 0;
  return {rpos, have < most ? have : most};
}

void Client::give_back(Str bytes) {
  size_t n = bytes.size();
  if (!n) return;
  char* floor = request ? rfloor : rbuf;
  if (rbuf && rpos >= floor && static_cast<size_t>(rpos - floor) >= n) {
    rpos -= n;
    std::memmove(rpos, bytes.data(), n);
    return;
  }
  if (rbuf && rpos == rlast && static_cast<size_t>(rend - floor) >= n) {
    rpos = floor;
    std::memmove(rpos, bytes.data(), n);
    rlast = rpos + n;
    return;
  }
  size_t unread_now = static_cast<size_t>(rlast - rpos);
  size_t size = kReadBuffer;
  while (size < n + unread_now + 1) size *= 2;
  char* fresh = pool->take_buffer(size);
  put_bytes(put_bytes(fresh, bytes), {rpos, unread_now});
  if (rbuf && request) {
    // The request's header lies in the old one: it goes when the request's memory does.
    struct Old {
      net::Loop* loop;
      char* p;
      size_t n;
    };
    auto* old = request->pool->make<Old>(server->loop, rbuf, static_cast<size_t>(rend - rbuf));
    request->pool->on_destroy(
        [](void* p) {
          auto* o = static_cast<Old*>(p);
          o->loop->defer_free(std::free, o->p);
        },
        old);
  } else {
    pool->recycle_buffer(rbuf, static_cast<size_t>(rend - rbuf));
  }
  rbuf = rpos = fresh;
  rlast = fresh + n + unread_now;
  rend = fresh + size;
  rfloor = fresh;
  window_ = 0;
}

namespace {
char* put(char* p, const char* end, Str s) {
  auto room = static_cast<size_t>(end - p);
  return put_bytes(p, s.substr(0, room));
}
char* put_quoted(char* p, const char* end, Str label, Str value) {
  return put(put(put(p, end, label), end, value), end, "\"");
}
}  // namespace

char* append_request(const Connection& c, Str line, char* p, char* end) {
  if (c.action) p = put(put(p, end, " while "), end, c.action);
  p = put(put(p, end, ", client: "), end, c.addr_text);
  const Request* r = c.request;
  if (!r) return put(put(p, end, ", server: "), end, c.listen->name);
  p = put(p, end, ", server: ");
  if (!r->srv->names.empty()) p = put(p, end, r->srv->names[0].name);
  if (!line.empty()) p = put_quoted(p, end, ", request: \"", line);
  const Request* sub = c.current ? c.current : r;
  if (sub != r) p = put_quoted(p, end, ", subrequest: \"", sub->uri);
  if (c.server->hooks.append_log) p = c.server->hooks.append_log(sub, p, end);
  if (r->headers_in.host) p = put_quoted(p, end, ", host: \"", r->headers_in.host->value);
  if (r->headers_in.referer) p = put_quoted(p, end, ", referrer: \"", r->headers_in.referer->value);
  return p;
}

char* Client::append(char* p, char* end) const {
  Str line = request ? request->request_line : Str();
  if (request && !line.data() && line_.start) {
    const char* e = line_.start;
    while (e < rlast && *e != '\r' && *e != '\n') ++e;
    line = {line_.start, static_cast<size_t>(e - line_.start)};
  }
  return append_request(*this, line, p, end);
}

}  // namespace moonphase::http
