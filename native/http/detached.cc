#include "http/detached.h"

#include "http/client.h"
#include "http/no_client.h"

namespace moonphase::http {

namespace {

// Stands for the connection: what it was when the request ended.
class Detached final : public NoClient {
 public:
  const sockaddr* local_address() override {
    return local_len ? reinterpret_cast<const sockaddr*>(&local) : nullptr;
  }
  char* append(char* p, char* end) const override {
    return append_request(*this, request->request_line, p, end);
  }
  ~Detached() override { pool->recycle_buffer(buffer, buffer_size); }

  RequestSlot* slot = nullptr;
  Pool* pool = nullptr;
  char* buffer = nullptr;  // the connection's read buffer: the request's line and headers
  size_t buffer_size = 0;
};

}  // namespace

void detach_request(Connection* c, RequestSlot* slot, Pool* pool, char* buffer, size_t size) {
  Request* r = c->request;
  HttpServer* server = c->server;
  c->local_address();
  auto* d = new Detached;
  d->take_peer(*c);
  d->addr_text = r->pool->copy(c->addr_text);
  d->local = c->local;
  d->local_len = c->local_len;
  d->log = c->log;
  d->action = "logging request";
  d->request = d->active = d->current = r;
  d->sent = c->sent;
  d->error = true;
  d->timedout = c->timedout;
  d->slot = slot;
  d->pool = pool;
  d->buffer = buffer;
  d->buffer_size = size;
  d->next = server->detached;
  if (d->next) d->next->prev = d;
  server->detached = d;
  r->detached = true;
  server->hooks.detached(r, d);
  c->request = c->active = c->current = nullptr;
}

void Client::detach() {
  const auto room = static_cast<size_t>(rend - rbuf);
  detach_request(this, slot, pool, rbuf, rbuf ? room : 0);
  slot = nullptr;
  if (!rbuf) return;
  // The request's bytes stay where they are; what lies behind them moves.
  if (rpos == rlast) {
    rbuf = rpos = rlast = rend = nullptr;
    window_ = 0;
    return;
  }
  char* fresh = pool->take_buffer(room);
  move_request(fresh);
  rend = fresh + room;
}

void end_detached(Request* main) {
  auto* d = static_cast<Detached*>(main->conn);
  HttpServer* server = d->server;
  if (d->next) d->next->prev = d->prev;
  (d->prev ? d->prev->next : server->detached) = d->next;
  main->logging = 0;
  server->hooks.destroy(main);
  server->loop->cancel(&main->posted);
  main->pool->run_cleanups();
  server->loop->defer_free(Pool::recycle_slot, d->slot);
  server->loop->defer_free([](void* p) { delete static_cast<Detached*>(p); }, d);
}

void end_all_detached(HttpServer* server) {
  while (server->detached) end_detached(server->detached->request);
}

}  // namespace moonphase::http
