// What all connections have, whoever brings their bytes: a place in the server, deadlines, requests
// that begin and end.
#include "http/connection.h"

#include <atomic>
#include <cstring>

#include "http/body.h"
#include "http/pool.h"

namespace moonphase::http {

static_assert(std::is_trivially_destructible_v<Request>);

uint64_t HttpServer::next_serial() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

void Connection::enter_server() {
  next = server->first;
  if (next) next->prev = this;
  server->first = this;
  ++server->stats.active;
  ++server->connections;
}

void Connection::leave_server() {
  if (prev)
    prev->next = next;
  else
    server->first = next;
  if (next) next->prev = prev;
  prev = next = nullptr;
  --server->stats.active;
  --server->connections;
}

void Connection::take_peer(const Connection& c) {
  server = c.server;
  listen = c.listen;
  connection = c.connection;
  requests = c.requests;
  start_ms = c.start_ms;
  std::memcpy(&peer, &c.peer, c.peer_len);
  peer_len = c.peer_len;
  addr_text = c.addr_text;
  proxy_protocol = c.proxy_protocol;
  ssl = c.ssl;
}

bool Connection::is_due(net::Timer* t, int64_t& deadline) {
  if (!deadline) return false;
  int64_t left = deadline - server->loop->clock().monotonic_ms;
  if (left > 0) {
    server->loop->set_timer(t, static_cast<uint64_t>(left));
    return false;
  }
  deadline = 0;
  return true;
}

void Connection::set_read_timeout(int64_t ms) {
  read_timedout = false;
  read_deadline = ms > 0 ? server->loop->clock().monotonic_ms + ms : 0;
  if (ms > 0 && (!read_timer.set() || static_cast<int64_t>(read_timer.due) > read_deadline))
    server->loop->set_timer(&read_timer, static_cast<uint64_t>(ms));
}

void Connection::set_write_timeout(int64_t ms) {
  write_timedout = false;
  write_deadline = ms > 0 ? server->loop->clock().monotonic_ms + ms : 0;
  if (ms > 0 && (!write_timer.set() || static_cast<int64_t>(write_timer.due) > write_deadline))
    server->loop->set_timer(&write_timer, static_cast<uint64_t>(ms));
}

void Connection::run_handler(EventHandler Request::*handler) {
  Request* r = active;
  if (!r) return;
  current = r;
  if (r->*handler) (r->*handler)(r);
  if (server->hooks.run_posted) server->hooks.run_posted(this);
}

Request* open_request(Connection* c, RequestSlot* slot) {
  // Without parentheses, which would have the memory cleared before its fields are set.
  Request* r = new (slot->memory) Request;
  HttpServer* server = c->server;
  const Clock& clock = server->loop->clock();
  r->pool = &slot->arena;
  r->conn = c;
  r->main = r;
  r->srv = c->tls_server ? c->tls_server : c->listen->default_server;
  r->loc = r->srv->conf;
  r->read_event_handler = block_reading;
  r->start_sec = clock.wall_sec();
  r->start_msec = clock.wall_ms % 1000;
  c->request = c->active = c->current = r;
  ++server->stats.requests;
  ++server->stats.reading;
  r->stat_reading = true;
  c->log = r->loc->error_log;
  return r;
}

void head_is_read(Request* r) {
  HttpServer* server = r->conn->server;
  --server->stats.reading;
  ++server->stats.writing;
  r->stat_reading = false;
  r->conn->action = nullptr;
}

bool retire_request(Connection* c, Request* r, int rc) {
  HttpServer* server = c->server;
  if (r->stat_reading)
    --server->stats.reading;
  else
    --server->stats.writing;
  r->stat_reading = false;
  if (rc > 0 && (r->headers_out.status == 0 || c->sent == 0)) r->headers_out.status = rc;
  c->action = "logging request";
  server->hooks.destroy(r);
  c->action = "closing request";
  server->loop->cancel(&r->posted);
  if (r->logging) return false;
  r->pool->run_cleanups();
  c->request = c->active = c->current = nullptr;
  return true;
}

void finish_request(Request* r) { r->conn->finish(r); }

void close_connection_with_request(Request* r, int rc) { r->conn->abandon(r, rc); }

void limit_keepalive(Request* r) {
  if (!r->keepalive) return;
  const CoreConf* loc = r->loc;
  const Connection* c = r->conn;
  bool on = !c->once && loc->keepalive_timeout != 0 &&
            c->requests < static_cast<uint64_t>(loc->keepalive_requests) &&
            c->server->loop->clock().monotonic_ms - c->start_ms <= loc->keepalive_time;
  if (r->headers_in.msie6 || r->headers_in.safari) {
    for (const std::string& who : loc->keepalive_disable) {
      if (who == "msie6" && r->headers_in.msie6 && r->method == kPost) on = false;
      if (who == "safari" && r->headers_in.safari) on = false;
    }
  }
  r->keepalive = on;
}

void block_reading(Request* r) { r->conn->want_read(false); }

void test_reading(Request* r) {
  Connection* c = r->conn;
  const ssize_t n = c->peek();
  if (n > 0) c->want_read(false);
  if (n > 0 || n == net::kIoAgain) return;
  const int err = n < 0 ? c->io_error() : 0;
  c->eof = true;
  c->error = true;
  log_write(c->log, c, kLogInfo, err, "client prematurely closed connection");
  c->server->hooks.finalize(r, 499);
}

}  // namespace moonphase::http
