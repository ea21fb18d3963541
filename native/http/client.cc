// A connection's life: accepted, between requests, lingering, closed.
#include "http/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cstdlib>

#include "http/body.h"
#include "http/h2_session.h"

namespace moonphase::http {

void Client::accept(HttpServer* server, const ListenConf* listen, int fd, const sockaddr* peer,
                    socklen_t len) {
  ++server->stats.accepted;
  if (server->connections >= server->max_connections) {
    log_write(listen->default_server->conf->error_log, nullptr, kLogAlert, 0,
              "%lld worker_connections are not enough",
              static_cast<long long>(server->max_connections));
    ::close(fd);
    return;
  }
  auto* c = new Client;
  static constexpr net::Stream::Events kEvents = {
      [](void* p) { static_cast<Client*>(p)->on_readable(); },
      [](void* p) { static_cast<Client*>(p)->on_writable(); },
  };
  c->stream = net::Stream::open(server->loop, fd, kEvents, c);
  if (!c->stream) {
    delete c;
    return;
  }
  ++server->stats.handled;
  ++server->stats.waiting;
  c->server = server;
  c->listen = listen;
  c->connection = server->next_connection++;
  c->log = listen->default_server->conf->error_log;
  c->action = "waiting for request";
  if (listen->ssl) {
    c->state = kHandshake;
    c->action = "SSL handshaking";
  }
  c->proxy_header_due_ = listen->proxy_protocol;
  c->start_ms = now().monotonic_ms;
  std::memcpy(&c->peer, peer, len);
  c->peer_len = len;
  if (peer->sa_family == AF_INET)
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(peer)->sin_addr, c->addr_buf_,
              sizeof c->addr_buf_);
  else if (peer->sa_family == AF_INET6)
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(peer)->sin6_addr, c->addr_buf_,
              sizeof c->addr_buf_);
  else
    std::strcpy(c->addr_buf_, "unix:");
  c->addr_text = c->addr_buf_;
  c->read_timer.data = c->write_timer.data = c;
  c->read_timer.fn = [](void* p) { static_cast<Client*>(p)->on_read_timeout(); };
  c->write_timer.fn = [](void* p) { static_cast<Client*>(p)->on_write_timeout(); };
  c->enter_server();
  c->set_read_timeout(listen->default_server->client_header_timeout);
  c->want_read(true);
}

Client::~Client() {
  pool->recycle_buffer(rbuf, static_cast<size_t>(rend - rbuf));
  pool->recycle_buffer(wbuf, static_cast<size_t>(wend - wbuf));
}

void Client::close() {
  if (state == kClosed) return;
  if (output_pending()) flush();
  if (state == kIdle || state == kHandshake) --server->stats.waiting;
  if (h2) h2->closed();
  if (tls_lua) server->hooks.tls_closed(this);
  state = kClosed;
  destroyed = true;
  server->loop->clear_timer(&read_timer);
  server->loop->clear_timer(&write_timer);
  server->loop->cancel(&input_task);
  stream->close();
  leave_server();
  server->loop->defer_free([](void* p) { delete static_cast<Client*>(p); }, this);
}

void Client::free_request(Request* r, int rc) {
  const bool over = retire_request(this, r, rc);
  destroyed = true;
  if (timedout && r->loc->reset_timedout_connection) stream->set_linger0();
  if (!over) {
    detach();
    return;
  }
  // Inside process_input the request's frames have returned when its loop goes on: the next
  // pipelined request finds the same memory, still in the cache.
  if (in_input)
    ended = slot;
  else
    server->loop->defer_free(Pool::recycle_slot, slot);
  slot = nullptr;
}

void Client::finish(Request* r) {
  if (state == kClosed || state == kLingering || r != request) return;
  const CoreConf* loc = r->loc;
  if (r->reading_body) {
    r->keepalive = false;
    r->lingering_close = true;
  }
  if (!eof && !error && r->keepalive && !server->closing && loc->keepalive_timeout > 0) {
    keepalive(r);
    return;
  }
  bool more = r->lingering_close || rpos < rlast || read_full || r->pipeline;
  if (!eof && !error &&
      (loc->lingering_close == Alternative::kAlways ||
       (loc->lingering_close == Alternative::kOn && more))) {
    linger(r);
    return;
  }
  abandon(r, 0);
}

void Client::abandon(Request* r, int rc) {
  if (state == kClosed) return;
  if (r->main == request) free_request(request, rc);
  close();
}

void Client::send_at_once(const CoreConf* loc) {
  if (!loc->tcp_nodelay || tcp_nodelay_set) return;
  tcp_nodelay_set = true;
  if (listen->family == ListenConf::kUnix) return;
  int on = 1;
  setsockopt(stream->fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void Client::keepalive(Request* r) {
  const CoreConf* loc = r->loc;
  read_timedout = write_timedout = write_delayed = false;
  write_deadline = 0;
  action = "closing request";
  // nginx reads a body of known length to its end and not further, unless it is in its buffer.
  const HeadersIn& in = r->headers_in;
  bool body_behind = in.content_length && !in.chunked && rpos > rbuf + window_;
  free_request(r, 0);
  state = kIdle;
  ++server->stats.waiting;
  action = "keepalive";
  send_at_once(loc);
  bool more = rpos < rlast;
  pipelined = more && !body_behind;
  if (!more) set_read_timeout(loc->keepalive_timeout);
  // Inside process_input its loop goes on by itself.
  if (in_input) return;
  if (more)
    post_input();
  else
    process_input();
}

// What the error page and the log know of a line that is no good: HEAD's has no body.
void Client::keep_line() {
  request->method = line_.method;
  if (line_.protocol) request->http_protocol = Str(line_.protocol, 0);
}

void Client::linger(Request* r) {
  state = kLingering;
  if (output_pending()) flush();
  if (!r->lingering_until) r->lingering_until = clock.monotonic_ms + r->loc->lingering_time;
  stream->shutdown_write();
  stream->want_write(false);
  write_deadline = 0;
  rpos = rlast;
  set_read_timeout(r->loc->lingering_timeout);
  want_read(true);
}

void Client::read_lingering() {
  char waste[4096];
  Request* r = request;
  int64_t left = r->lingering_until - clock.monotonic_ms;
  if (left <= 0) {
    close_connection_with_request(r, 0);
    return;
  }
  rpos = rlast;
  for (;;) {
    ssize_t n = stream->recv(waste, sizeof waste);
    if (n == net::kIoAgain) break;
    if (n <= 0) {
      if (n < 0) log_write(log, this, kLogInfo, stream->error(), "recv() failed");
      close_connection_with_request(r, 0);
      return;
    }
    if (static_cast<size_t>(n) < sizeof waste) break;
  }
  set_read_timeout(left < r->loc->lingering_timeout ? left : r->loc->lingering_timeout);
}

void Client::on_writable() {
  stream->want_write(false);
  if (state == kHandshake) {
    handshake();
    return;
  }
  if (state == kHttp2) {
    h2->on_writable();
    return;
  }
  if (output_pending() && !flush() && !error) {
    stream->want_write(true);
    return;
  }
  if (state == kProcessing) {
    run_handler(&Request::write_event_handler);
    return;
  }
  write_deadline = 0;
  if (error && state == kIdle)
    close();
  else
    process_input();
}

void Client::on_read_timeout() {
  if (!is_due(&read_timer, read_deadline)) return;
  switch (state) {
    case kHandshake:
      log_write(log, this, kLogInfo, ETIMEDOUT, "client timed out");
      close();
      break;
    case kIdle:
      if (!requests) log_write(log, this, kLogInfo, ETIMEDOUT, "client timed out");
      close();
      break;
    case kLine:
    case kHeaders:
      log_write(log, this, kLogInfo, ETIMEDOUT, "client timed out");
      timedout = true;
      abandon(request, 408);
      break;
    case kProcessing:
      read_timedout = true;
      run_handler(&Request::read_event_handler);
      break;
    case kLingering:
      abandon(request, 0);
      break;
    case kHttp2:
      h2->on_read_timeout();
      break;
    case kClosed:
      break;
  }
}

void Client::on_write_timeout() {
  if (!is_due(&write_timer, write_deadline)) return;
  if (state == kProcessing) {
    if (write_delayed)
      write_delayed = false;
    else
      write_timedout = true;
    run_handler(&Request::write_event_handler);
    return;
  }
  if (state == kHttp2) {
    h2->on_write_timeout();
    return;
  }
  if (state == kClosed || state == kLingering) return;
  log_write(log, this, kLogInfo, ETIMEDOUT, "client timed out");
  timedout = true;
  if (request)
    abandon(request, 408);
  else
    close();
}

const sockaddr* Client::local_address() {
  if (!local_len) {
    socklen_t n = sizeof local;
    if (getsockname(stream->fd(), reinterpret_cast<sockaddr*>(&local), &n) != 0) return nullptr;
    local_len = n;
  }
  return reinterpret_cast<const sockaddr*>(&local);
}

void accept_connection(HttpServer* server, const ListenConf* listen, int fd, const sockaddr* peer,
                       socklen_t len) {
  Client::accept(server, listen, fd, peer, len);
}

constexpr int64_t kGrace = 1000;

void drain_connections(HttpServer* server) {
  net::Loop::Scope scope(*server->loop);
  server->closing = true;
  for (Connection *c = server->first, *next; c; c = next) {
    next = c->next;
    c->drain();
  }
}

void cut_connections(HttpServer* server) {
  net::Loop::Scope scope(*server->loop);
  for (Connection *c = server->first, *next; c; c = next) {
    next = c->next;
    if (c->request) close_connection_with_request(c->request, 0);
  }
  for (Connection *c = server->first, *next; c; c = next) {
    next = c->next;
    c->cut();
  }
}

void Client::drain() {
  if (state == kHttp2) h2->drain();
  if (state != kIdle || output_pending()) return;
  // A new connection's first request may be on its way.
  if (!requests && read_deadline > clock.monotonic_ms + kGrace)
    set_read_timeout(kGrace);
  else if (requests)
    close();
}

void Client::cut() {
  if (state == kHttp2)
    h2->cut();
  else
    close();
}

ssize_t Client::peek() {
  char byte;
  return stream->peek(&byte, 1);
}

}  // namespace moonphase::http
