// The connection's side of HTTP/2: bytes in, bytes out, streams in between.
#include "http/h2_session.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "http/h2_stream.h"

namespace moonphase::http {

namespace {

// Read into by every session of the thread; nothing stays in it.
std::string& receive_buffer(size_t n) {
  static thread_local std::string buffer;
  if (buffer.size() < n) buffer.resize(n);
  return buffer;
}

constexpr ptrdiff_t kMostUnsent = 256 * 1024;  // a client that doesn't read is not read from
constexpr int kRounds = 64;                    // of full write buffers in one turn
constexpr uint64_t kFloodSlack = 1 << 20;
constexpr int32_t kMaxWindow = 0x7fffffff;
constexpr uint32_t kMaxFrameSize = (1 << 24) - 1;

}  // namespace

H2Session::H2Session(Client* c) : client(c) {
  const ServerCore* s = srv();
  nghttp2_session_server_new2(&ng_, callbacks(), this, options());
  if (!ng_) std::abort();
  priority_left_ = std::max(max_streams(s), 100u);
  task_.fn = [](void* p) { static_cast<H2Session*>(p)->end_turn(); };
  task_.data = this;
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_streams(s)},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<uint32_t>(s->http2_body_preread_size)},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kMaxFrameSize},
  };
  nghttp2_submit_settings(ng_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(ng_, NGHTTP2_FLAG_NONE, 0, kMaxWindow);
}

H2Session::~H2Session() { nghttp2_session_del(ng_); }

const ServerCore* H2Session::srv() const {
  return client->tls_server ? client->tls_server : client->listen->default_server;
}

void H2Session::log_info(const char* text, int err) const {
  log_write(client->log, client, kLogInfo, err, "%s", text);
}

// --- in ---

void H2Session::start(Str bytes) {
  client->action = "processing HTTP/2 connection";
  client->send_at_once(srv()->conf);
  client->set_read_timeout(srv()->client_header_timeout);
  if (client->server->closing) {
    finalize(NGHTTP2_NO_ERROR);
    return;
  }
  if (!bytes.empty()) receive(bytes);
  if (!finalizing_ && !lingering_ && client->state != Client::kClosed) on_readable();
}

void H2Session::on_readable() {
  if (lingering_) {
    read_lingering();
    return;
  }
  if (finalizing_ || lost_) {
    client->want_read(false);
    return;
  }
  if (idle_ && client->requests &&
      ++idle_turns_ > 10 * static_cast<uint64_t>(srv()->conf->keepalive_requests)) {
    log_info("http2 flood detected");
    finalize(NGHTTP2_NO_ERROR);
    return;
  }
  new_streams_ = 0;
  std::string& buffer = receive_buffer(srv()->http2_recv_buffer_size);
  const size_t room = srv()->http2_recv_buffer_size;
  const ssize_t n = client->stream->recv(buffer.data(), room);
  if (n == net::kIoAgain) {
    post_flush();
    return;
  }
  if (n <= 0) {
    if (n == 0 && (processing || open_)) log_info("client prematurely closed connection");
    if (n < 0) log_info("recv() failed", client->stream->error());
    lost_ = true;
    finalize(0);
    return;
  }
  receive({buffer.data(), static_cast<size_t>(n)});
}

void H2Session::receive(Str bytes) {
  inside_ = true;
  const nghttp2_ssize used =
      nghttp2_session_mem_recv2(ng_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  inside_ = false;
  total_bytes_ += bytes.size();
  if (used < 0) {
    run_events();
    if (client->state == Client::kClosed) return;
    uint32_t code = NGHTTP2_INTERNAL_ERROR;
    if (failed_) {
      code = failure_;
    } else if (used == NGHTTP2_ERR_BAD_CLIENT_MAGIC) {
      log_info("invalid connection preface");
      code = NGHTTP2_PROTOCOL_ERROR;
    } else if (used == NGHTTP2_ERR_FLOODED || used == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS) {
      log_info("http2 flood detected");
      code = NGHTTP2_ENHANCE_YOUR_CALM;
    }
    finalize(code);
    return;
  }
  run_events();
  if (client->state == Client::kClosed || finalizing_) return;
  if (total_bytes_ / 8 > payload_bytes_ + kFloodSlack) {
    log_info("http2 flood detected");
    finalize(NGHTTP2_NO_ERROR);
    return;
  }
  if (open_ && !open_->read_deadline) open_->set_read_timeout(srv()->client_header_timeout);
  post_flush();
}

// --- out ---

size_t H2Session::room() const {
  const ptrdiff_t used = client->wlast - client->wbuf;
  const auto most = static_cast<ptrdiff_t>(kWriteBuffer - kH2FrameHead);
  return used < most ? static_cast<size_t>(most - used) : 0;
}

char* H2Session::reserve(size_t n) {
  Client* c = client;
  if (!c->wbuf) {
    c->wbuf = c->wpos = c->wlast = c->pool->take_buffer(kWriteBuffer);
    c->wend = c->wbuf + kWriteBuffer;
  }
  if (static_cast<size_t>(c->wend - c->wlast) < n) {
    const auto old = static_cast<size_t>(c->wend - c->wbuf);
    const auto used = static_cast<size_t>(c->wlast - c->wpos);
    size_t size = old * 2;
    while (size < used + n) size *= 2;
    char* bigger = c->pool->take_buffer(size);
    std::memcpy(bigger, c->wpos, used);
    c->pool->recycle_buffer(c->wbuf, old);
    c->wbuf = c->wpos = bigger;
    c->wlast = bigger + used;
    c->wend = bigger + size;
  }
  char* p = c->wlast;
  c->wlast += n;
  return p;
}

void H2Session::pump() {
  if (inside_) return;
  inside_ = true;
  const uint8_t* bytes;
  nghttp2_ssize n = 0;
  while (!lost_ && (n = nghttp2_session_mem_send2(ng_, &bytes)) > 0) {
    total_bytes_ += static_cast<uint64_t>(n);
    append(bytes, static_cast<size_t>(n));
  }
  inside_ = false;
  if (n < 0) lost_ = true;
  post_flush();
}

bool H2Session::flush() {
  Client* c = client;
  if (!c->output_pending()) return true;
  if (lost_) {
    c->wpos = c->wlast;
    return true;
  }
  if (c->flush()) {
    c->set_write_timeout(0);
    return true;
  }
  if (c->error) {
    lost_ = true;
    return false;
  }
  if (!c->write_deadline) c->set_write_timeout(srv()->conf->send_timeout);
  c->want_write(true);
  return false;
}

void H2Session::on_writable() {
  if (lingering_) return;
  if (client->write_deadline) client->set_write_timeout(0);
  end_turn();
}

void H2Session::post(H2Stream* s) {
  if (!s->queued) {
    s->queued = true;
    s->next_event = nullptr;
    *last_event_ = s;
    last_event_ = &s->next_event;
  }
  post_flush();
}

void H2Session::wait_for_room(H2Stream* s) {
  if (s->waits_for_room) return;
  s->waits_for_room = true;
  s->next_writer = nullptr;
  *last_writer_ = s;
  last_writer_ = &s->next_writer;
  post_flush();
}

void H2Session::run_events() {
  while (H2Stream* s = events_) {
    events_ = s->next_event;
    if (!events_) last_event_ = &events_;
    s->queued = false;
    const bool begin = std::exchange(s->event_begin, false);
    const bool read = std::exchange(s->event_read, false);
    const bool write = std::exchange(s->event_write, false);
    if (begin) s->begin();
    if (read && !s->gone && s->begun) s->readable();
    if (write && !s->gone && s->begun) s->writable();
  }
}

void H2Session::post_flush() {
  if (!ending_) client->server->loop->post(&task_);
}

// What has gathered leaves; streams that waited for room go on.
void H2Session::end_turn() {
  if (client->state == Client::kClosed || lingering_) return;
  bool flushed = true;
  ending_ = true;
  for (int round = 0;; ++round) {
    pump();
    flushed = flush();
    if (lost_ || failed_) break;
    if (flushed) {
      while (H2Stream* s = writers_) {
        writers_ = s->next_writer;
        s->waits_for_room = false;
        s->event_write = true;
        post(s);
      }
      last_writer_ = &writers_;
    }
    if (flushed && !unwanted_.empty()) {
      for (const int32_t id : unwanted_) {
        ended_[next_ended_++ % std::size(ended_)] = id;
        if (nghttp2_session_find_stream(ng_, id))
          nghttp2_submit_rst_stream(ng_, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
      }
      unwanted_.clear();
      continue;
    }
    if (!events_) break;
    if (round >= kRounds) {
      // Others have their turn first.
      client->want_write(true);
      break;
    }
    run_events();
  }
  ending_ = false;
  if (lost_ && !finalizing_) {
    finalize(0);
    return;
  }
  // nghttp2 has ended the session for what the client did.
  if (!finalizing_ && !nghttp2_session_want_read(ng_) && !nghttp2_session_want_write(ng_)) {
    finalize(NGHTTP2_PROTOCOL_ERROR);
    return;
  }
  const bool full = client->wlast - client->wpos > kMostUnsent;
  if (full != paused_) {
    paused_ = full;
    client->want_read(!full);
  } else if (!full && !finalizing_) {
    client->want_read(true);
  }
  if (processing || !flushed || open_ || events_) return;
  if (lost_) {
    client->close();
  } else if (going_) {
    linger();
  } else if (client->server->closing) {
    finalize(NGHTTP2_NO_ERROR);
  } else if (!idle_) {
    idle_ = true;
    ++client->server->stats.waiting;
    client->set_read_timeout(srv()->conf->keepalive_timeout);
  }
}

// --- streams ---

void H2Session::reset(H2Stream* s, uint32_t code) {
  ended_[next_ended_++ % std::size(ended_)] = s->id;
  if (s->open && !lost_) nghttp2_submit_rst_stream(ng_, NGHTTP2_FLAG_NONE, s->id, code);
}

// Some clients take a reset that comes in one piece with the answer for a failure.
void H2Session::stop_body(H2Stream* s) {
  if (s->open && !lost_) unwanted_.push_back(s->id);
}

void H2Session::remove(H2Stream* s) {
  if (s->open) nghttp2_session_set_stream_user_data(ng_, s->id, nullptr);
  if (open_ == s) open_ = nullptr;
  (s->prev_stream ? s->prev_stream->next_stream : streams_) = s->next_stream;
  if (s->next_stream) s->next_stream->prev_stream = s->prev_stream;
  auto unlink = [s](H2Stream** p, H2Stream*** last, H2Stream* H2Stream::*next) {
    for (; *p; p = &((*p)->*next)) {
      if (*p != s) continue;
      *p = s->*next;
      if (!*p) *last = p;
      return;
    }
  };
  if (s->queued) unlink(&events_, &last_event_, &H2Stream::next_event);
  if (s->waits_for_room) unlink(&writers_, &last_writer_, &H2Stream::next_writer);
  --processing;
  post_flush();
}

// --- the end ---

void H2Session::go_away(uint32_t code) {
  if (going_) return;
  going_ = true;
  nghttp2_submit_goaway(ng_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(ng_), code,
                        nullptr, 0);
  pump();
}

void H2Session::drain() {
  if (finalizing_ || lingering_) return;
  if (processing || open_)
    go_away(NGHTTP2_NO_ERROR);
  else if (client->requests)
    finalize(NGHTTP2_NO_ERROR);
  else
    post_flush();
}

void H2Session::cut() {
  finalizing_ = lost_ = true;
  for (H2Stream *s = streams_, *next; s; s = next) {
    next = s->next_stream;
    s->abandon(s->request, 0);
  }
  client->close();
}

// ngx_http_v2_finalize_connection: all streams end, and the connection with the last one.
void H2Session::finalize(uint32_t code) {
  if (finalizing_) return;
  finalizing_ = true;
  if (!lost_) {
    pump();
    go_away(code);
    flush();
  }
  client->want_read(false);
  if (H2Stream* s = open_) {
    // Its header will never be complete.
    open_ = nullptr;
    s->event_begin = true;
    s->fail();
    post(s);
  }
  for (H2Stream* s = streams_; s; s = s->next_stream) s->fail();
  run_events();
  if (client->state == Client::kClosed) return;
  if (processing) {
    lost_ = true;
    return;
  }
  if (lost_)
    client->close();
  else
    linger();
}

void H2Session::closed() {
  client->server->loop->cancel(&task_);
  if (idle_) --client->server->stats.waiting;
  idle_ = false;
}

// As Client::linger; what is still in the write buffer leaves if the socket takes it now.
void H2Session::linger() {
  Client* c = client;
  const CoreConf* conf = srv()->conf;
  flush();
  if (lost_ || conf->lingering_close == Alternative::kOff) {
    c->close();
    return;
  }
  lingering_ = true;
  if (!idle_) {
    idle_ = true;
    ++c->server->stats.waiting;
  }
  lingering_until_ = now().monotonic_ms + conf->lingering_time;
  c->stream->shutdown_write();
  c->want_write(false);
  c->set_write_timeout(0);
  c->set_read_timeout(conf->lingering_timeout);
  c->want_read(true);
}

void H2Session::read_lingering() {
  char waste[4096];
  const int64_t left = lingering_until_ - now().monotonic_ms;
  for (bool more = left > 0; more;) {
    const ssize_t n = client->stream->recv(waste, sizeof waste);
    if (n == net::kIoAgain) break;
    if (n <= 0) {
      client->close();
      return;
    }
    more = static_cast<size_t>(n) == sizeof waste;
  }
  if (left <= 0) {
    client->close();
    return;
  }
  client->set_read_timeout(std::min(left, srv()->conf->lingering_timeout));
}

void H2Session::on_read_timeout() {
  if (lingering_) {
    client->close();
    return;
  }
  if (idle_ && client->requests) {
    finalize(NGHTTP2_NO_ERROR);
    return;
  }
  log_info("client timed out", ETIMEDOUT);
  finalize(NGHTTP2_PROTOCOL_ERROR);
}

void H2Session::on_write_timeout() {
  if (lingering_) return;
  client->timedout = true;
  lost_ = true;
  finalize(0);
}

}  // namespace moonphase::http
