#include "http/host.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "http/detached.h"
#include "http/headers_in.h"
#include "http/request_head.h"

namespace moonphase::http {

namespace {

constexpr size_t kMostInput = 65536;  // unread bytes of a body, about

Str version_text(int version) {
  return version == kVersion20 ? "HTTP/2.0" : version == kVersion10 ? "HTTP/1.0" : "HTTP/1.1";
}

}  // namespace

bool next_header_line(Str* lines, HeaderLine* line) {
  if (lines->empty()) return false;
  auto take = [&] {
    const size_t end = lines->find('\n');
    Str s = lines->substr(0, end);
    lines->remove_prefix(end == Str::npos ? lines->size() : end + 1);
    return s;
  };
  line->name = take();
  line->value = take();
  return true;
}

HostedConnection* HostedConnection::open(HttpServer* server, const ListenConf* listen, Host* host,
                                         uint32_t id) {
  auto* c = new HostedConnection;
  c->server = server;
  c->listen = listen;
  c->host_ = host;
  c->id_ = id;
  ++server->stats.accepted;
  ++server->stats.handled;
  c->enter_server();
  return c;
}

HostedConnection::~HostedConnection() {
  free_answer(true);
  std::free(rbuf);
}

void HostedConnection::begin(const HostedRequest& from) {
  requests = from.requests;
  stream_ = from.stream;
  hosted = !stream_;
  need_last_buf = hosted;
  once = stream_;
  passes_on_ = from.passes_on;
  input_end_ = from.body == HostedBody::kNone && !stream_;
  const Clock& clock = server->loop->clock();
  start_ms = clock.monotonic_ms;
  read_timer.data = write_timer.data = event_.data = this;
  read_timer.fn = [](void* p) { static_cast<HostedConnection*>(p)->on_read_timeout(); };
  write_timer.fn = [](void* p) { static_cast<HostedConnection*>(p)->on_write_timeout(); };
  event_.fn = [](void* p) { static_cast<HostedConnection*>(p)->on_event(); };
  take_addresses(*from.peer);

  slot_ = pool_->take_slot();
  Request* r = open_request(this, slot_);
  r->http_version = from.version;
  action = "reading client request headers";
  server->hooks.init(r);
  const int status = read_head(from);
  method_ = r->method_name;
  uri_ = r->uri;
  args_ = r->args;
  if (status) {
    action = nullptr;
    server->hooks.reject(r, status);
  } else {
    head_is_read(r);
    server->hooks.process(r);
  }
  run_posted();
}

void HostedConnection::take_addresses(const HostedPeer& from) {
  connection = from.connection;
  ssl = from.ssl;
  std::memcpy(&peer, &from.remote, from.remote_len);
  peer_len = from.remote_len;
  addr_text = {addr_buf_, from.host.copy(addr_buf_, sizeof addr_buf_)};
  std::memcpy(&local, &from.local, from.local_len);
  local_len = from.local_len;
}

const sockaddr* HostedConnection::local_address() {
  return reinterpret_cast<const sockaddr*>(&local);
}

// The head as HTTP/1 has it, read as HTTP/1's is.
int HostedConnection::read_head(const HostedRequest& from) {
  Request* r = request;
  const Str version = version_text(from.version);
  size_t size = from.method.size() + from.url.size() + version.size() + 8;
  // Each "name\nvalue\n" becomes "name: value\r\n".
  size += from.headers.size() * 2 + 8;
  char* text = r->pool->bytes(size);
  char* p = put_bytes(put_bytes(text, from.method), " ");
  p = put_bytes(put_bytes(p, from.url), " ");
  char* at_version = p;
  p = put_bytes(put_bytes(p, from.version == kVersion10 ? version : "HTTP/1.1"), "\r\n");
  LineParser line;
  char* pos = text;
  if (line.parse(pos, p) != kOk) {
    log_write(log, this, kLogInfo, 0, "client sent invalid request");
    r->request_line = {text, static_cast<size_t>(p - text - 2)};
    r->method = method_number(from.method);
    return 400;
  }
  put_bytes(at_version, version);
  if (const int status = take_request_line(r, line)) return status;
  r->http_version = from.version;

  Str lines = from.headers;
  HeaderLine h;
  const ServerCore* srv = r->srv;
  while (next_header_line(&lines, &h)) {
    // HTTP/2's pseudo headers; the host is among them.
    if (h.name.starts_with(':')) {
      if (h.name != ":authority") continue;
      h.name = "Host";
    }
    if (h.name.find('_') != Str::npos && !srv->underscores_in_headers &&
        srv->ignore_invalid_headers) {
      log_write(log, this, kLogInfo, 0, "client sent invalid header line: \"%.*s: %.*s\"",
                STR(h.name), STR(h.value));
      continue;
    }
    p = put_bytes(put_bytes(p, h.name), ": ");
    p = put_bytes(put_bytes(p, h.value), "\r\n");
    Header* added = r->headers_in.list.add(*r->pool, h.name, h.value);
    if (h.name == "Host" && r->headers_in.host) {  // HTTP/2 may have both
      added->hash = 0;
      continue;
    }
    if (const int status = headers_in_added(r, added)) return status;
  }
  p = put_bytes(p, "\r\n");
  r->header_bytes = {text, static_cast<size_t>(p - text)};
  r->request_length = p - text;
  if (const int status = check_headers(r)) return status;
  const HeadersIn& in = r->headers_in;
  const bool body = from.body == HostedBody::kByHead ? in.chunked || in.content_length_n > 0
                                                     : from.body == HostedBody::kSome;
  input_end_ = !body && !stream_;
  // A length that is not known beforehand: the body reader gets it in chunks.
  r->headers_in.chunked = body && !in.content_length;
  framed_ = hosted && r->headers_in.chunked;
  return 0;
}

char* HostedConnection::append(char* p, char* end) const {
  return append_request(*this, request ? request->request_line : Str(), p, end);
}

// --- the client's bytes ---

void HostedConnection::room_for(size_t n) {
  if (rpos == rlast) rpos = rlast = rbuf;
  if (static_cast<size_t>(rend - rlast) >= n) return;
  const auto unread_now = static_cast<size_t>(rlast - rpos);
  size_t size = kReadBuffer;
  while (size < unread_now + n) size *= 2;
  auto* fresh = static_cast<char*>(std::malloc(size));
  if (!fresh) std::abort();
  put_bytes(fresh, {rpos, unread_now});
  std::free(rbuf);
  rbuf = rpos = rfloor = fresh;
  rlast = fresh + unread_now;
  rend = fresh + size;
}

bool HostedConnection::push(Str bytes) {
  if (over_ || bytes.empty()) return !over_;
  room_for(bytes.size() + 32);
  if (framed_) {
    rlast = std::to_chars(rlast, rend, bytes.size(), 16).ptr;
    rlast = put_bytes(rlast, "\r\n");
  }
  rlast = put_bytes(rlast, bytes);
  if (framed_) rlast = put_bytes(rlast, "\r\n");
  if (reading_) call_reader();
  return !over_ && static_cast<size_t>(rlast - rpos) < kMostInput;
}

void HostedConnection::push_end() {
  if (over_ || input_end_) return;
  input_end_ = true;
  if (stream_) {
    eof = true;
  } else if (framed_) {
    room_for(8);
    rlast = put_bytes(rlast, "0\r\n\r\n");
  }
  if (reading_) call_reader();
}

ssize_t HostedConnection::recv(void* buf, size_t n) {
  input_used_ = true;
  if (rpos < rlast) {
    const auto have = static_cast<size_t>(rlast - rpos);
    if (n > have) n = have;
    std::memcpy(buf, rpos, n);
    rpos += n;
    return static_cast<ssize_t>(n);
  }
  if (gone_ || input_end_) {
    eof = true;
    return 0;
  }
  host_->want_body(this);
  return gone_ ? 0 : net::kIoAgain;
}

void HostedConnection::give_back(Str bytes) {
  const size_t n = bytes.size();
  if (!n) return;
  if (static_cast<size_t>(rpos - rbuf) < n) {
    room_for(n);
    std::memmove(rpos + n, rpos, static_cast<size_t>(rlast - rpos));
    rlast += n;
  } else {
    rpos -= n;
  }
  std::memmove(rpos, bytes.data(), n);
}

ssize_t HostedConnection::peek() {
  if (gone_) return 0;
  if (rpos < rlast) return 1;
  return stream_ && input_end_ ? 0 : net::kIoAgain;
}

// A socket's events come again as long as there is something to read.
void HostedConnection::want_read(bool on) {
  reading_ = on;
  if (!on || over_) return;
  if (gone_ || rpos < rlast || (stream_ && input_end_)) server->loop->post(&event_);
}

void HostedConnection::want_write(bool on) {
  writing_ = on;
  if (on && !over_ && (writable_ || gone_)) server->loop->post(&event_);
}

void HostedConnection::on_event() {
  if (!over_ && writing_ && (writable_ || gone_)) call_writer();
  if (!over_ && reading_ && (gone_ || rpos < rlast || (stream_ && input_end_))) call_reader();
}

void HostedConnection::call_reader() {
  current = active;
  active->read_event_handler(active);
  run_posted();
}

void HostedConnection::call_writer() {
  writing_ = false;
  current = active;
  if (active->write_event_handler) active->write_event_handler(active);
  run_posted();
}

void HostedConnection::run_posted() {
  if (!over_ && server->hooks.run_posted) server->hooks.run_posted(this);
}

void HostedConnection::on_read_timeout() {
  if (over_ || !is_due(&read_timer, read_deadline)) return;
  read_timedout = true;
  call_reader();
}

void HostedConnection::on_write_timeout() {
  if (over_ || !is_due(&write_timer, write_deadline)) return;
  if (write_delayed)
    write_delayed = false;
  else
    write_timedout = true;
  call_writer();
}

void HostedConnection::writable() {
  if (over_) return;
  writable_ = true;
  if (writing_) call_writer();
}

void HostedConnection::gone() {
  if (over_ || gone_) return;
  gone_ = true;
  if (passed_) {
    if (!answering_) {
      take_end(0, 0, 0, true);
    } else if (!answer_over_) {
      answer_over_ = true;
      server->hooks.finalize(request, 499);
      run_posted();
    }
    return;
  }
  if (reading_) call_reader();
  if (!over_ && writing_) call_writer();
}

// --- the answer's bytes ---

namespace {

constexpr size_t kPiece = 65536;

Str read_file(const Buf* b, char* to, size_t most) {
  auto n = static_cast<size_t>(b->file_last - b->file_pos);
  const ssize_t got = pread(b->file->fd, to, n < most ? n : most, b->file_pos);
  return {to, got > 0 ? static_cast<size_t>(got) : 0};
}

void skip(Buf* b, size_t n) {
  if (b->in_memory()) b->pos += n;
  if (b->in_file) b->file_pos += static_cast<off_t>(n);
}

Str trailer_lines(Request* r) {
  Str text;
  for (Header& h : r->headers_out.trailers)
    if (h.hash) text = r->pool->join({text, h.name, "\n", h.value, "\n"});
  return text;
}

}  // namespace

Chain* HostedConnection::send(Chain* in, int64_t limit) {
  if (error) return in;
  if (gone_) {
    error = true;
    return in;
  }
  int64_t left = limit ? std::max<int64_t>(limit, static_cast<int64_t>(head_size)) : INT64_MAX;
  while (in && writable_ && left > 0 && !over_) {
    // One buffer as it is, or several small ones (or of a file) put together.
    Chain* c = in;
    while (c->next && !c->buf->size()) c = c->next;
    Str piece;
    size_t gathered = 0;
    bool alone = c->buf->in_memory() && (!c->next || c->buf->size() >= static_cast<off_t>(kPiece));
    if (alone) {
      piece = c->buf->bytes().substr(0, static_cast<size_t>(std::min<int64_t>(left, kPiece)));
    } else {
      size_t room = static_cast<size_t>(std::min<int64_t>(left, kPiece));
      size_t have = 0, wanted = 0;
      for (Chain* i = in; i && wanted < room; i = i->next)
        wanted += static_cast<size_t>(i->buf->size());
      gathered = std::max(kReadBuffer, std::min(room, wanted));
      char* text = pool_->take_buffer(gathered);
      for (Chain* i = in; i && have < room; i = i->next) {
        const Buf* b = i->buf;
        if (!b->size()) continue;
        Str s = b->in_memory() ? b->bytes().substr(0, room - have)
                               : read_file(b, text + have, room - have);
        if (s.empty()) {
          log_write(log, this, kLogAlert, 0, "pread() read only 0 of %lld from \"%.*s\"",
                    static_cast<long long>(b->size()), STR(b->file->name));
          error = true;
          break;
        }
        if (b->in_memory()) put_bytes(text + have, s);
        have += s.size();
        if (s.size() < static_cast<size_t>(b->size())) break;
      }
      piece = {text, have};
    }
    // What it takes of the chain, and whether that is the answer's end.
    bool last = false;
    size_t n = piece.size();
    while (in) {
      Buf* b = in->buf;
      const size_t size = static_cast<size_t>(b->size());
      if (size > n) {
        skip(b, n);
        break;
      }
      skip(b, size);
      n -= size;
      if (b->last_buf) last = true;
      in = in->next;
      if (!n && in && in->buf->size()) break;
    }
    sent += static_cast<int64_t>(piece.size());
    left -= static_cast<int64_t>(piece.size());
    Str head = piece.substr(0, head_size);
    Str body = piece.substr(head.size());
    head_size = 0;
    if (!error && !last_sent_ && !(head.empty() && body.empty() && !last)) {
      if (last && hosted) last_sent_ = true;
      writable_ = host_->output(this, head, body, last && hosted,
                                last && hosted ? trailer_lines(request) : Str());
    }
    if (gathered) pool_->recycle_buffer(const_cast<char*>(piece.data()), gathered);
    if (error) return in;
  }
  while (in && !in->buf->size() && !in->buf->last_buf) in = in->next;
  return in;
}

// --- the end ---

void HostedConnection::end(Request* r, int rc) {
  if (over_ || r->main != request) return;
  over_ = true;
  r = request;
  net::Loop* loop = server->loop;
  const bool retired = retire_request(this, r, rc);
  loop->clear_timer(&read_timer);
  loop->clear_timer(&write_timer);
  loop->cancel(&event_);
  if (retired) {
    loop->defer_free(Pool::recycle_slot, slot_);
  } else {
    need_head();
    detach_request(this, slot_, pool_, nullptr, 0);
  }
  slot_ = nullptr;
  destroyed = true;
  leave_server();
  host_->ended(this, last_sent_ || stream_);
  loop->defer_free([](void* p) { delete static_cast<HostedConnection*>(p); }, this);
}

}  // namespace moonphase::http
