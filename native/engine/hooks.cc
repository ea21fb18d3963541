// What http asks of the engine (http::ServerHooks).
#include "engine/handshake.h"
#include "engine/lifecycle.h"
#include "engine/lua_ctx.h"
#include "engine/modules/real_ip.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/upstream/upstream.h"
#include "engine/variables/variables.h"

namespace moonphase::engine {

namespace {

Runtime* runtime_of(const Request* r) { return static_cast<Runtime*>(r->conn->server->hooks.data); }

void init(Request* r) {
  Generation* g = runtime_of(r)->current;
  retain(g);
  r->generation = g;
  r->variables = r->pool->array<VarValue>(g->plan->variables.size());
}

void destroy(Request* r) {
  Generation* g = generation(r);
  // Mostly done when the request was finalized.
  if (!r->logged || r->cleanup || r->posted_head || r->posted.queued) free_request(r, 0);
  if (r->logging) return;  // called again when its log handlers have ended
  // What the connection logs between its requests must not hold an old generation's files.
  r->conn->log = r->conn->listen->default_server->conf->error_log;
  r->generation = nullptr;
  release(g);
}

// Whoever still runs for the request finds its new connection.
void detached(Request* main, http::Connection* c) {
  real_ip_detached(main);
  main->conn = c;
  for (auto* ctx = static_cast<LuaCtx*>(main->lua_contexts); ctx; ctx = ctx->next_of_main)
    for (Request* r = ctx->r; r; r = r->parent) r->conn = c;
}

void process(Request* r) {
  r->read_event_handler = http::block_reading;
  start_request(r);
}

int refuse_in_filter(Request* r, int status) { return filter_finalize(r, status); }

bool evaluate(Request* r, const Complex& value, Str* out) {
  *out = eval(r, value);
  return true;
}

bool filters_answer(const Request* r) {
  return loc(r)->lua.header_filter || loc(r)->lua.body_filter;
}
bool logs_answer(const Request* r) { return loc(r)->lua.log || !loc(r)->access_log.empty(); }

const http::ServerCore* match_regex_name(const http::ListenConf* listen, Request* r, Str host) {
  for (const http::ServerCore* core : listen->servers) {
    auto* server = static_cast<const ServerConf*>(core);
    for (const RegexPtr& regex : server->name_regex)
      if (regex && (r ? match_regex(r, *regex, host) == kOk : regex->match(host, nullptr, 0) >= 0))
        return server;
  }
  return nullptr;
}

}  // namespace

http::ServerHooks server_hooks(void* runtime) {
  http::ServerHooks hooks;
  hooks.process = process;
  hooks.reject = finalize_request;
  hooks.init = init;
  hooks.destroy = destroy;
  hooks.detached = detached;
  hooks.finalize = finalize_request;
  hooks.filter_finalize = refuse_in_filter;
  hooks.evaluate = evaluate;
  hooks.post_request = post_request;
  hooks.run_posted = run_posted;
  hooks.append_log = append_upstream;
  hooks.match_regex_name = match_regex_name;
  hooks.tls_client_hello = handshake_client_hello;
  hooks.tls_certificate = handshake_certificate;
  hooks.tls_new_session = handshake_new_session;
  hooks.tls_get_session = handshake_get_session;
  hooks.tls_closed = handshake_closed;
  hooks.filters_answer = filters_answer;
  hooks.logs_answer = logs_answer;
  hooks.data = runtime;
  return hooks;
}

}  // namespace moonphase::engine
