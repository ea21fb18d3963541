// From bytes to requests: reads, splits into requests, keeps nginx's limits and statuses.
#include <errno.h>

#include "http/client.h"
#include "http/h2_session.h"
#include "http/headers_in.h"
#include "http/request_head.h"
#include "http/virtual_server.h"

namespace moonphase::http {

namespace {

const char* parse_error_text(int error) {
  switch (error) {
    case kBadMethod:
      return "client sent invalid method";
    case kBadVersion:
      return "client sent invalid version";
    case kBad09Method:
      return "client sent invalid method in HTTP/0.9 request";
  }
  return "client sent invalid request";
}

// nginx says nothing of client and server in this one place.
struct NoTail final : LogContext {
  char* append(char* p, char*) const override { return p; }
};

Str between(const char* from, const char* to) { return {from, static_cast<size_t>(to - from)}; }

}  // namespace

void Client::on_readable() {
  if (state == kHandshake) {
    handshake();
    return;
  }
  if (state == kHttp2) {
    h2->on_readable();
    return;
  }
  if (state == kProcessing) {
    run_handler(&Request::read_event_handler);
    return;
  }
  if (state == kLingering) {
    read_lingering();
    return;
  }
  if (state == kClosed || !fill()) return;
  if (!proxy_header_due_ || take_proxy_header()) process_input();
}

bool Client::fill() {
  make_room();
  auto room = static_cast<size_t>(rend - rlast);
  ssize_t n = stream->recv(rlast, room);
  if (n > 0) {
    rlast += n;
    read_full = static_cast<size_t>(n) == room;
    return true;
  }
  read_full = false;
  if (n == net::kIoAgain) {
    if (!request && !read_deadline) set_read_timeout(listen->default_server->client_header_timeout);
    return false;
  }
  if (request) {
    action = "reading client request headers";
    if (n == 0)
      log_write(log, this, kLogInfo, 0, "client prematurely closed connection");
    else
      log_write(log, this, kLogInfo, stream->error(), "recv() failed");
    error = true;
    eof = n == 0;
    state = kProcessing;
    server->hooks.finalize(request, 400);
    return false;
  }
  if (requests) {
    NoTail plain;
    plain.connection = connection;
    if (n == 0)
      log_write(log, &plain, kLogInfo, 0, "client %.*s closed keepalive connection",
                STR(addr_text));
    else if (stream->error() != ECONNRESET && !stream->tls)
      log_write(log, this, kLogInfo, stream->error(), "recv() failed");
  } else if (n == 0) {
    log_write(log, this, kLogInfo, 0, "client closed connection");
  } else if (!stream->tls) {
    log_write(log, this, kLogInfo, stream->error(), "recv() failed");
  }
  close();
  return false;
}

// Room for at least one more byte behind rlast.
void Client::make_room() {
  if (!rbuf) {
    rbuf = rpos = rlast = pool->take_buffer(kReadBuffer);
    rend = rbuf + kReadBuffer;
    return;
  }
  if (!request && rpos == rlast) {
    rpos = rlast = rbuf;
    return;
  }
  if (rlast < rend) return;
  char* keep = request ? request_start_ : rpos;
  if (keep > rbuf + (rend - rbuf) / 2) {
    move_request(rbuf);
    return;
  }
  auto size = static_cast<size_t>(rend - rbuf);
  char* bigger = pool->take_buffer(size * 2);
  char* old = rbuf;
  move_request(bigger);
  rend = rbuf + size * 2;
  pool->recycle_buffer(old, size);
}

// Moves what is still needed to the front of `to` (which may be rbuf itself), with all pointers
// into it.
void Client::move_request(char* to) {
  char* keep = request ? request_start_ : rpos;
  auto n = static_cast<size_t>(rlast - keep);
  std::memmove(to, keep, n);
  ptrdiff_t by = to - keep;
  auto lost = static_cast<size_t>(keep - rbuf);
  window_ = window_ > lost ? window_ - lost : 0;
  if (request) {
    auto shift = [&](Str& s) {
      if (s.data() >= keep && s.data() <= rlast) s = {s.data() + by, s.size()};
    };
    for (Str* s : {&request->method_name, &request->request_line, &request->unparsed_uri,
                   &request->uri, &request->args, &request->exten, &request->http_protocol,
                   &request->schema, &request->host_in_line})
      shift(*s);
    line_.shift(by);
    head_.shift(by);
    request_start_ = to;
  }
  if (to != rbuf) {
    // The caller sets rend.
    rbuf = to;
  }
  rpos += by;
  rlast += by;
}

void Client::post_input() {
  if (input_task.queued) return;
  input_task.fn = [](void* p) { static_cast<Client*>(p)->process_input(); };
  input_task.data = this;
  server->loop->post(&input_task);
}

void Client::process_input() {
  if (in_input || state == kClosed) return;
  in_input = true;
  for (;;) {
    if (state == kProcessing || state == kLingering || state == kHttp2 || state == kClosed) break;
    if (state == kIdle) {
      if (rpos == rlast) break;
      if (!requests) {
        const Rc preface = test_preface();
        if (preface == kAgain) break;
        if (preface == kOk) {
          start_http2();
          break;
        }
      }
      // What the client doesn't read is not answered: no further request before the written answers
      // are gone.
      if (output_pending() && wlast - wpos > static_cast<ptrdiff_t>(kWriteBuffer / 2) && !flush())
        break;
      begin_request();
    }
    int rc = state == kLine ? parse_line() : kOk;
    if (rc == kOk && state == kHeaders) rc = parse_headers();
    recycle_ended();
    if (rc == kAgain) {
      if (!read_full || !fill()) break;
    }
  }
  recycle_ended();
  in_input = false;
  if (state != kClosed && state != kHttp2) settle();
}

Rc Client::test_preface() const {
  if (listen->ssl || !(listen->http2 || listen->default_server->http2)) return kDeclined;
  const Str bytes = unread().substr(0, H2Session::kPreface.size());
  if (bytes != H2Session::kPreface.substr(0, bytes.size())) return kDeclined;
  return bytes.size() == H2Session::kPreface.size() ? kOk : kAgain;
}

void Client::start_http2() {
  state = kHttp2;
  h2 = std::make_unique<H2Session>(this);
  const Str bytes = unread();
  char* buffer = std::exchange(rbuf, nullptr);
  const auto size = static_cast<size_t>(rend - buffer);
  rpos = rlast = rend = nullptr;
  window_ = 0;
  h2->start(bytes);
  pool->recycle_buffer(buffer, size);
}

// The end of a turn: what was gathered leaves, and the socket is watched for what comes next.
void Client::settle() {
  corked = false;
  if (output_pending() && !flush()) {
    if (error && state == kIdle) {
      close();
      return;
    }
    if (!write_deadline && state != kProcessing)
      set_write_timeout(listen->default_server->conf->send_timeout);
    stream->want_write(true);
    if (state == kIdle && rpos < rlast) {
      stream->want_read(false);
      return;
    }
  }
  if (state == kIdle) {
    if (server->closing && requests && rpos == rlast) {
      close();
      return;
    }
    if (rpos == rlast && rbuf) {
      pool->recycle_buffer(rbuf, static_cast<size_t>(rend - rbuf));
      rbuf = rpos = rlast = rend = nullptr;
      window_ = 0;
    }
    want_read(true);
    if (read_full && !rbuf) read_full = false;
  } else if (state == kLine || state == kHeaders) {
    if (!read_deadline) set_read_timeout(request->srv->client_header_timeout);
    want_read(true);
  }
}

void Client::begin_request() {
  slot = pool->take_slot();
  Request* r = open_request(this, slot);
  r->http_version = kVersion10;
  r->pipeline = pipelined;
  ++requests;
  --server->stats.waiting;
  action = pipelined ? "reading client pipelined request line" : "reading client request line";
  sent = 0;
  destroyed = false;
  error = timedout = false;
  buffered_bits = 0;
  read_deadline = 0;
  read_timedout = write_timedout = false;
  line_.reset();
  head_.reset();
  header_count_ = 0;
  request_start_ = rpos;
  // A window that is used up, or none: nginx would start a buffer here.
  auto at = static_cast<size_t>(rpos - rbuf);
  if (window_ <= at) {
    window_ = at + r->srv->client_header_buffer_size;
    large_used_ = 0;
  } else {
    large_used_ = large_used_ ? 1 : 0;
  }
  state = kLine;
  if (server->hooks.init) server->hooks.init(r);
}

bool Client::next_buffer(bool line) {
  const ServerCore* srv = request->srv;
  auto at = static_cast<size_t>(rpos - rbuf);
  bool at_start = line ? line_.at_start() : head_.at_start();
  if (line && at_start) {
    // Nothing but empty lines: they may go on for ever.
    window_ = at + srv->client_header_buffer_size;
    request_start_ = rpos;
    return true;
  }
  char* start = at_start ? rpos : line ? line_.start : head_.name_start;
  if (!at_start && static_cast<size_t>(rpos - start) >= srv->large_buffers_size) return false;
  if (large_used_ >= srv->large_buffers_number) return false;
  ++large_used_;
  window_ = static_cast<size_t>(start - rbuf) + srv->large_buffers_size;
  return true;
}

int Client::parse_line() {
  for (;;) {
    char* stop = rbuf + window_ < rlast ? rbuf + window_ : rlast;
    int rc = line_.parse(rpos, stop);
    if (rc == kOk) return finish_line();
    if (rc != kAgain) {
      log_write(log, this, kLogInfo, 0, "%s", parse_error_text(rc));
      // Log lines and $request show the line as far as it is there.
      char* end = line_.start ? line_.start : rpos;
      while (end < rlast && *end != '\r' && *end != '\n') ++end;
      if (rc == kBad09Method) request->http_version = kVersion09;
      keep_line();
      if (line_.start) request->request_line = between(line_.start, end);
      reject(rc == kBadVersion ? 505 : 400);
      return kDone;
    }
    if (rpos == rbuf + window_) {
      if (!next_buffer(true)) {
        request->request_line = between(line_.start, rpos);
        keep_line();
        log_write(log, this, kLogInfo, 0, "client sent too long URI");
        reject(414);
        return kDone;
      }
      if (rpos < rlast) continue;
    }
    return kAgain;
  }
}

int Client::finish_line() {
  Request* r = request;
  const LineParser& l = line_;
  request_start_ = l.start;
  r->request_length = rpos - l.start;
  if (const int status = take_request_line(r, l)) {
    reject(status);
    return kDone;
  }
  if (r->http_version < kVersion10) {
    if (r->headers_in.server.empty()) set_virtual_server(r, Str());
    r->header_bytes = between(l.start, rpos);
    process();
    return kDone;
  }
  action = "reading client request headers";
  state = kHeaders;
  return kOk;
}

int Client::parse_headers() {
  Request* r = request;
  for (;;) {
    char* stop = rbuf + window_ < rlast ? rbuf + window_ : rlast;
    int rc = head_.parse(rpos, stop, r->srv->underscores_in_headers);
    if (rc == kOk) {
      HeaderParser& h = head_;
      r->request_length += rpos - h.name_start;
      if (h.invalid && r->srv->ignore_invalid_headers) {
        log_write(log, this, kLogInfo, 0, "client sent invalid header line: \"%.*s\"",
                  STR(between(h.name_start, h.value_end)));
        continue;
      }
      if (++header_count_ > static_cast<unsigned>(r->srv->max_headers)) {
        r->lingering_close = true;
        log_write(log, this, kLogInfo, 0, "client sent too many header lines");
        reject(494);
        return kDone;
      }
      Header* added = r->headers_in.list.add(*r->pool, between(h.name_start, h.name_end),
                                             between(h.value_start, h.value_end));
      if (int status = headers_in_added(r, added)) {
        reject(status);
        return kDone;
      }
      continue;
    }
    if (rc == kParseHeadersDone) {
      r->request_length += rpos - head_.name_start;
      r->header_bytes = between(line_.start, rpos);
      return finish_headers();
    }
    if (rc == kBadHeader) {
      log_write(log, this, kLogInfo, 0, "client sent invalid header line: \"%.*s\\x%02x...\"",
                STR(between(head_.name_start, head_.value_end)),
                static_cast<unsigned char>(*head_.value_end));
      reject(400);
      return kDone;
    }
    if (rpos == rbuf + window_) {
      if (!next_buffer(false)) {
        r->lingering_close = true;
        if (head_.at_start()) {
          log_write(log, this, kLogInfo, 0, "client sent too large request");
        } else {
          Str text = between(head_.name_start, rpos).substr(0, kMaxErrorStr - 300);
          log_write(log, this, kLogInfo, 0, "client sent too long header line: \"%.*s...\"",
                    STR(text));
        }
        reject(494);
        return kDone;
      }
      if (rpos < rlast) continue;
    }
    return kAgain;
  }
}

int Client::finish_headers() {
  if (const int status = check_headers(request))
    reject(status);
  else
    process();
  return kDone;
}

// From here on the request is the engine's.
void Client::process() {
  Request* r = request;
  if (listen->ssl) [[unlikely]] {
    if (const int status = check_tls(r)) {
      reject(status);
      return;
    }
  }
  read_deadline = 0;
  state = kProcessing;
  rfloor = rpos;
  head_is_read(r);
  corked = may_cork();
  server->hooks.process(r);
  corked = false;
  if (server->hooks.run_posted && state == kProcessing) server->hooks.run_posted(this);
}

void Client::reject(int status) {
  Request* r = request;
  // Log lines that follow show what is there.
  if (!r->header_bytes.data()) r->header_bytes = between(request_start_, rpos);
  state = kProcessing;
  rfloor = rpos;
  read_deadline = 0;
  server->hooks.reject(r, status);
  if (server->hooks.run_posted && state == kProcessing) server->hooks.run_posted(this);
}

}  // namespace moonphase::http
