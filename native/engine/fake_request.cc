// Requests without a client, for what runs Lua outside of one: timers, init_worker, exit_worker.
#include <cstdio>

#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/scheduler.h"
#include "http/no_client.h"

namespace moonphase::engine {

class FakeConnection final : public http::NoClient {
 public:
  char* append(char* p, char* end) const override {
    auto add = [&](const char* text, Str value) {
      int n = snprintf(p, static_cast<size_t>(end - p), "%s%.*s", text, STR(value));
      p = n < 0 ? p : n < end - p ? p + n : end;
    };
    if (context) add(", context: ", context);
    if (!addr_text.empty()) add(", client: ", addr_text);
    if (listen) add(", server: ", listen->name);
    return p;
  }

  void join() {
    FakeConnection*& first = gen->runtime->fakes;
    next_fake = first;
    if (next_fake) next_fake->prev_fake = this;
    first = this;
  }
  void leave() {
    if (next_fake) next_fake->prev_fake = prev_fake;
    FakeConnection*& first = gen->runtime->fakes;
    (prev_fake ? prev_fake->next_fake : first) = next_fake;
  }

  FakeConnection *next_fake = nullptr, *prev_fake = nullptr;
  const char* context = nullptr;
  Generation* gen = nullptr;
  Arena arena{1024};
};

namespace {

void destroy(void* p) {
  auto* c = static_cast<FakeConnection*>(p);
  Generation* g = c->gen;
  delete c;
  release(g);
}

}  // namespace

http::Request* Runtime::fake_request(Generation* g, uint32_t phase) {
  auto* c = new FakeConnection();
  c->server = &http;
  c->connection = http.next_connection++;
  c->error = true;
  c->gen = g;
  c->join();
  const PhaseRow* row = phase_row(phase);
  if (row && !(phase & (kPhaseInit | kPhaseExitWorker))) c->context = row->directive;
  retain(g);

  auto* r = c->arena.make<Request>();
  r->pool = &c->arena;
  r->conn = c;
  r->main = r;
  r->generation = g;
  r->loc = g->plan->main_conf;
  r->headers_in.content_length_n = 0;
  r->discard_body = true;
  r->read_event_handler = http::block_reading;
  r->write_event_handler = empty_handler;
  c->request = c->active = c->current = r;
  c->log = phase == kPhaseExitWorker ? g->plan->error_log : r->loc->error_log;
  return r;
}

void inherit_request(Request* fake, const http::ServerCore* srv, const http::CoreConf* conf,
                     const http::ListenConf* listen, Str client) {
  auto* c = static_cast<FakeConnection*>(fake->conn);
  fake->srv = srv;
  if (conf) {
    fake->loc = conf;
    c->log = conf->error_log;
  }
  c->addr_text = c->arena.copy(client);
  c->listen = listen;
}

void end_running_timers(Runtime* runtime) {
  FakeConnection* c = runtime->fakes;
  while (c) {
    FakeConnection* next = c->next_fake;
    LuaCtx* ctx = ctx_of(c->request);
    if (ctx && ctx->is_timer) {
      finish_fake_request(c->request);
      next = runtime->fakes;  // its end may have ended others
    }
    c = next;
  }
}

void finish_fake_request(Request* r) {
  auto* c = static_cast<FakeConnection*>(r->conn);
  if (c->destroyed) return;
  MOONPHASE_LOG(r, kLogDebug, 0, "http lua close fake http connection %p", static_cast<void*>(c));
  c->destroyed = true;
  c->leave();
  if (LuaCtx* ctx = ctx_of(r)) {
    if (ctx->is_timer) --Scheduler::of(c->gen).running_timers;
    cleanup(ctx);
  }
  r->logged = true;  // such requests have no log line
  free_request(r, 0);
  c->gen->runtime->loop->defer_free(destroy, c);
}

}  // namespace moonphase::engine
