// A stream's body in and answer out.
#include "http/h2_stream.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "http/detached.h"
#include "http/h2_session.h"
#include "http/head_fields.h"

namespace moonphase::http {

namespace {
// Not the most that there is: a setting that the client takes up later adds to it.
constexpr int32_t kBodyWindow = 1 << 30;

// What carries no bytes and no end is sent as soon as it is reached.
Chain* skip_empty(Chain* c, bool ended) {
  while (c && !c->buf->size() && (ended || !c->buf->last_buf)) c = c->next;
  return c;
}

nghttp2_nv make_nv(Str name, Str value) {
  auto bytes = [](Str s) { return reinterpret_cast<uint8_t*>(const_cast<char*>(s.data())); };
  return {bytes(name), bytes(value), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}
}  // namespace

H2Stream::H2Stream(H2Session* s, int32_t stream_id) : session(s), id(stream_id) {
  const Client* c = s->client;
  framed = true;
  need_last_buf = true;
  take_peer(*c);
  stream = c->stream;
  tls_server = c->tls_server;
  tcp_nodelay_set = true;
  read_timer.data = write_timer.data = this;
  read_timer.fn = [](void* p) { static_cast<H2Stream*>(p)->on_timeout(true); };
  write_timer.fn = [](void* p) { static_cast<H2Stream*>(p)->on_timeout(false); };
  pool_ = c->pool;
  slot_ = pool_->take_slot();
  Request* r = open_request(this, slot_);
  r->http_version = kVersion20;
  r->http_protocol = "HTTP/2.0";
  r->valid_location = true;
  header_left_ = static_cast<size_t>(r->srv->large_buffers_number) * r->srv->large_buffers_size;
  action = "reading client request headers";
  if (server->hooks.init) server->hooks.init(r);
}

H2Stream::~H2Stream() {
  server->loop->clear_timer(&read_timer);
  server->loop->clear_timer(&write_timer);
  pool_->recycle_buffer(rbuf, static_cast<size_t>(rend - rbuf));
}

char* H2Stream::append(char* p, char* end) const {
  return append_request(*this, request ? request->request_line : Str(), p, end);
}

const sockaddr* H2Stream::local_address() {
  Client* c = session->client;
  const sockaddr* a = c->local_address();
  if (a && !local_len) {
    std::memcpy(&local, &c->local, c->local_len);
    local_len = c->local_len;
  }
  return a;
}

// --- the body ---

void H2Stream::take(Str data) {
  if (rpos == rlast) rpos = rlast = rbuf;
  if (static_cast<size_t>(rend - rlast) < data.size()) {
    const auto old = static_cast<size_t>(rend - rbuf);
    const auto used = static_cast<size_t>(rlast - rpos);
    size_t size = std::max(old, kReadBuffer);
    while (size < used + data.size()) size *= 2;
    char* fresh = pool_->take_buffer(size);
    put_bytes(fresh, {rpos, used});
    pool_->recycle_buffer(rbuf, old);
    rbuf = rpos = fresh;
    rlast = fresh + used;
    rend = fresh + size;
  }
  rlast = put_bytes(rlast, data);
}

ssize_t H2Stream::recv(void* buf, size_t n) {
  if (error) return net::kIoError;
  if (rpos == rlast) {
    if (in_closed) return 0;
    // Whoever takes the body as it comes needs no limit.
    if (!window_raised_ && open && !request->request_body_no_buffering &&
        session->srv()->http2_body_preread_size < kBodyWindow) {
      window_raised_ = true;
      nghttp2_session_set_local_window_size(session->ng(), NGHTTP2_FLAG_NONE, id, kBodyWindow);
      session->pump();
    }
    return net::kIoAgain;
  }
  n = std::min(n, static_cast<size_t>(rlast - rpos));
  std::memcpy(buf, rpos, n);
  rpos += n;
  if (open) {
    nghttp2_session_consume_stream(session->ng(), id, n);
    session->pump();
  }
  return static_cast<ssize_t>(n);
}

bool H2Stream::drop_body() {
  skip_data = true;
  if (open && rpos < rlast) {
    nghttp2_session_consume_stream(session->ng(), id, static_cast<size_t>(rlast - rpos));
    session->pump();
  }
  rpos = rlast;
  return true;
}

void H2Stream::want_read(bool on) {
  reading_ = on;
  if (!on || gone || !(error || in_closed || rpos < rlast)) return;
  event_read = true;
  session->post(this);
}

void H2Stream::readable() {
  if (reading_ || error) run_handler(&Request::read_event_handler);
}

void H2Stream::fail() {
  error = true;
  eof = true;
  event_read = true;
  // Who waits for the window waits in vain.
  if (writing_) event_write = true;
  session->post(this);
}

void H2Stream::on_timeout(bool reading) {
  net::Loop::Scope scope(*server->loop);
  if (!is_due(reading ? &read_timer : &write_timer, reading ? read_deadline : write_deadline))
    return;
  if (!begun) {
    log_write(log, this, kLogInfo, ETIMEDOUT, "client timed out");
    timedout = true;
    abandon(request, 408);
  } else if (reading) {
    read_timedout = true;
    run_handler(&Request::read_event_handler);
  } else {
    if (write_delayed)
      write_delayed = false;
    else
      write_timedout = true;
    run_handler(&Request::write_event_handler);
  }
}

// --- the answer ---

int H2Stream::send_head(Request* r, const HeadField* fields, size_t n, bool end) {
  if (error || !open) return kError;
  auto* nv = static_cast<nghttp2_nv*>(r->pool->alloc(n * sizeof(nghttp2_nv)));
  for (size_t i = 0; i < n; ++i) nv[i] = make_nv(fields[i].name, fields[i].value);
  nghttp2_data_provider2 body{};
  body.source.ptr = nullptr;
  body.read_callback = [](nghttp2_session*, int32_t id, uint8_t*, size_t most, uint32_t* flags,
                          nghttp2_data_source*, void* self) {
    return static_cast<H2Session*>(self)->read_data(id, most, flags);
  };
  if (nghttp2_submit_response2(session->ng(), id, nv, n, end ? nullptr : &body) != 0) return kError;
  head_sent_ = true;
  if (end)
    session->pump();
  else
    session->post_flush();
  return kOk;
}

Chain* H2Stream::send(Chain* in, int64_t limit) {
  if (error || !open) {
    if (out_closed) return nullptr;
    error = true;
    return in;
  }
  if (out_closed) return nullptr;
  out_ = skip_empty(in, false);
  blocked_ = kNothing;
  if (!out_) {
    session->post_flush();
    return nullptr;
  }
  limit_ = limit ? limit : INT64_MAX;
  if (deferred_) {
    deferred_ = false;
    nghttp2_session_resume_data(session->ng(), id);
  }
  session->pump();
  Chain* left = skip_empty(std::exchange(out_, nullptr), out_closed);
  if (left && !deferred_ && blocked_ == kNothing) blocked_ = kWindow;
  return left;
}

ssize_t H2Stream::next_length(size_t most, uint32_t* flags) {
  auto defer = [this] {
    deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  };
  if (!out_) {
    // The window has opened.
    if (writing_) {
      event_write = true;
      session->post(this);
    }
    return defer();
  }
  out_ = skip_empty(out_, false);
  if (!out_ || limit_ <= 0) return defer();
  const size_t room = session->room();
  if (!room && out_->buf->size()) {
    blocked_ = kRoom;
    return defer();
  }
  most = std::min({most, room, request->loc->http2_chunk_size});
  if (static_cast<int64_t>(most) > limit_) most = static_cast<size_t>(limit_);
  size_t n = 0;
  bool last = false;
  for (const Chain* c = out_; c; c = c->next) {
    const auto size = static_cast<size_t>(c->buf->size());
    if (size > most - n) {
      n = most;
      break;
    }
    n += size;
    last = c->buf->last_buf;
    if (last) break;
  }
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (last) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (submit_trailers()) *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    if (!n) out_ = nullptr;
  }
  return static_cast<ssize_t>(n);
}

bool H2Stream::submit_trailers() {
  HeaderList& list = request->headers_out.trailers;
  if (!list.count()) return false;
  auto* nv = static_cast<nghttp2_nv*>(request->pool->alloc(list.count() * sizeof(nghttp2_nv)));
  size_t n = 0;
  for (auto it = list.begin(); it != list.end(); ++it)
    if (it->hash) nv[n++] = make_nv(lower_name(request, *it), it->value);
  return n && nghttp2_submit_trailer(session->ng(), id, nv, n) == 0;
}

bool H2Stream::put_payload(size_t n) {
  sent += static_cast<int64_t>(n + kH2FrameHead);
  request->header_size += kH2FrameHead;
  limit_ -= static_cast<int64_t>(n);
  while (out_) {
    Buf* b = out_->buf;
    const size_t part = std::min(n, static_cast<size_t>(b->size()));
    if (part && b->in_memory()) {
      session->append(b->pos, part);
    } else if (part) {
      char* to = session->reserve(part);
      const ssize_t got = pread(b->file->fd, to, part, b->file_pos);
      if (got != static_cast<ssize_t>(part)) {
        log_write(log, this, kLogAlert, got < 0 ? errno : 0,
                  "pread() has read only %lld of %lld from \"%.*s\"", static_cast<long long>(got),
                  static_cast<long long>(part), STR(b->file->name));
        error = true;
        std::memset(to, 0, n);
      }
    }
    if (b->in_memory()) b->pos += part;
    if (b->in_file) b->file_pos += static_cast<off_t>(part);
    n -= part;
    if (b->size()) break;
    const bool last = b->last_buf;
    out_ = out_->next;
    if (last) out_ = nullptr;
    if (!n && out_ && out_->buf->size()) break;
  }
  return true;
}

void H2Stream::want_write(bool on) {
  writing_ = on;
  if (!on || gone) return;
  if (blocked_ == kRoom) {
    session->wait_for_room(this);
  } else if (blocked_ != kWindow || deferred_) {
    event_write = true;
    session->post(this);
  }
}

void H2Stream::writable() {
  writing_ = false;
  if (write_delayed) return;  // limit_rate's timer goes on
  blocked_ = kNothing;
  run_handler(&Request::write_event_handler);
}

// --- the end ---

void H2Stream::end(Request* r, int rc) {
  if (gone) return;
  session->pump();
  if (!out_closed)
    session->reset(this, timedout ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_INTERNAL_ERROR);
  else if (!in_closed)
    session->stop_body(this);
  gone = true;
  net::Loop* loop = server->loop;
  loop->clear_timer(&read_timer);
  loop->clear_timer(&write_timer);
  if (retire_request(this, r->main, rc))
    loop->defer_free(Pool::recycle_slot, slot_);
  else
    detach_request(this, slot_, pool_, nullptr, 0);
  destroyed = true;
  session->remove(this);
  loop->defer_free([](void* p) { delete static_cast<H2Stream*>(p); }, this);
}

}  // namespace moonphase::http
