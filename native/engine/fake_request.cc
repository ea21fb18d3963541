// Requests without a client, for Lua that runs on its own account: init_worker, timers, calls from JavaScript.
#include <cstdio>

#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/phases.h"
#include "engine/runtime.h"

namespace moonphase::engine {

namespace {

class FakeConnection final : public http::Connection {
 public:
  FakeConnection(http::HttpServer* s, uint32_t phase) : phase_(phase) {
    server = s;
    LogContext::connection = s->next_connection++;
    start_ms = now().monotonic_ms;
    peer.ss_family = AF_UNSPEC;
  }

  char* append(char* p, char* end) const override {
    const PhaseRow* row = phase_row(phase_);
    p = add(p, end, ", context: ", row ? row->directive : "");
    if (!client.empty()) p = add(p, end, ", client: ", client);
    if (!server_name.empty()) p = add(p, end, ", server: ", server_name);
    return p;
  }

  ssize_t recv(void*, size_t) override { return net::kIoError; }
  Str preread(size_t* room) const override {
    *room = 0;
    return {};
  }
  void give_back(Str) override {}
  Chain* send(Chain*, int64_t) override { return nullptr; }
  bool flush() override { return true; }
  void want_read(bool) override {}
  void want_write(bool) override {}
  const sockaddr* local_address() override { return nullptr; }
  void finish(Request*) override {}
  void abandon(Request*, int) override {}

  Arena arena{4096};
  Str client, server_name;

 private:
  static char* add(char* p, char* end, Str label, Str text) {
    for (Str s : {label, text}) {
      size_t n = std::min(s.size(), static_cast<size_t>(end - p));
      p = std::copy_n(s.data(), n, p);
    }
    return p;
  }
  uint32_t phase_;
};

}  // namespace

Request* Runtime::fake_request(Generation* g, uint32_t phase) {
  auto* c = new FakeConnection(&http, phase);
  auto* r = c->arena.make<Request>();
  c->log = g->plan->main_conf ? g->plan->main_conf->error_log : g->plan->error_log;
  c->request = c->active = c->current = r;
  r->pool = &c->arena;
  r->conn = c;
  r->main = r;
  r->generation = g;
  retain(g);
  r->loc = g->plan->main_conf;
  if (!g->plan->servers.empty()) r->srv = g->plan->servers[0].get();
  r->variables = c->arena.array<VarValue>(g->plan->variables.size());
  r->read_event_handler = r->write_event_handler = empty_handler;
  r->internal = true;
  r->header_sent = false;
  r->start_sec = now().wall_sec();
  r->start_msec = now().wall_ms % 1000;
  return r;
}

void Runtime::set_fake_origin(Request* r, Str client, Str server) {
  auto* c = static_cast<FakeConnection*>(r->conn);
  c->client = r->pool->copy(client);
  c->server_name = r->pool->copy(server);
}

void finish_fake_request(Request* r) {
  auto* c = static_cast<FakeConnection*>(r->conn);
  Generation* g = generation(r);
  r->logged = true;  // such requests have no log line
  free_request(r, 0);
  r->pool->run_cleanups();
  c->destroyed = true;
  c->request = nullptr;
  c->server->loop->defer_free([](void* p) { delete static_cast<FakeConnection*>(p); }, c);
  release(g);
}

}  // namespace moonphase::engine
