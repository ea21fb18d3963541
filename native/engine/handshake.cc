#include "engine/handshake.h"

#include <utility>

#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/scheduler.h"
#include "engine/tls_sessions.h"
#include "engine/variables/variables.h"
#include "lua/call.h"
#include "net/tls_hello.h"

namespace moonphase::engine {

namespace {

struct Kind {
  uint32_t phase;
  const char* action;
  const char* directive;  // as log lines name it
  const char* callback;
};
constexpr Kind kHello{kPhaseSslClientHello, "loading SSL client hello by lua",
                      "ssl_client_hello_by_lua", "client hello cb"};
constexpr Kind kCert{kPhaseSslCert, "loading SSL certificate by lua", "ssl_certificate_by_lua",
                     "cert cb"};
constexpr Kind kFetch{kPhaseSslSessionFetch, "fetching SSL session by lua",
                      "ssl_session_fetch_by_lua*", "sess get cb"};
constexpr Kind kStore{kPhaseSslSessionStore, "storing SSL session by lua",
                      "ssl_session_store_by_lua*", "sess new cb"};

Handshake* handshake(http::Connection* c) {
  if (!c->tls_lua) {
    auto* h = new Handshake;
    h->c = c;
    h->gen = static_cast<Runtime*>(c->server->hooks.data)->current;
    retain(h->gen);
    h->go_on.data = h;
    h->go_on.fn = [](void* p) {
      auto* self = static_cast<Handshake*>(p);
      http::continue_handshake(self->c);
    };
    c->tls_lua = h;
  }
  return static_cast<Handshake*>(c->tls_lua);
}

// The coroutines of a handler have ended.
void finish(LuaCtx* ctx, int rc) {
  Handshake* h = handshake_of(ctx->r);
  const int code = h->code = ctx->exited ? ctx->exit_code : rc;
  h->result = code == kError || code >= 300 ? kError : kOk;
  h->done = true;
  MOONPHASE_LOG(ctx->r, kLogDebug, 0, "http lua finalize fake request: %d, a:1, c:1", code);
  h->request = nullptr;
  finish_fake_request(ctx->r);
  h->c->action = "SSL handshaking";
  if (!h->calling) h->c->server->loop->post(&h->go_on);
}

const ServerConf* server_of(const http::Connection* c) {
  return static_cast<const ServerConf*>(c->tls_server ? c->tls_server : c->listen->default_server);
}

void log_reusable(const http::Connection* c, const char* what) {
  if (c->log.enabled(kLogDebug))
    log_write(c->log, c, kLogDebug, 0, "ssl %s: connection reusable: 0", what);
}

// Begins a handler's request.
LuaCtx* begin(Handshake* h, const ServerConf* srv, const Kind& kind) {
  http::Connection* c = h->c;
  Generation* g = h->gen;
  c->action = kind.action;
  Request* r = h->request = g->runtime->fake_request(g, kind.phase);
  inherit_request(r, srv, srv->conf, c->listen, c->addr_text);
  r->conn->handshake_of = c;
  g->vm->retain();
  LuaCtx* ctx = make_fake_ctx(r, g->vm, kind.phase);
  ctx->entered_content = true;
  return ctx;
}

// Runs the handler, or tells what has become of it. kAgain: it waits.
Rc run(http::Connection* c, const ServerConf* srv, const Handler* handler, const Kind& kind) {
  Handshake* h = handshake(c);
  if (h->entered & kind.phase) {
    if (h->phase != kind.phase || h->done) {
      if (c->log.enabled(kLogDebug))
        log_write(c->log, c, kLogDebug, 0, "%s: %s exit code: %d", kind.directive, kind.callback,
                  h->result == kOk ? 1 : 0);
      return h->phase == kind.phase ? h->result : kOk;
    }
    return kAgain;
  }
  h->entered |= kind.phase;
  h->phase = kind.phase;
  h->done = false;
  h->result = kOk;
  Generation* g = h->gen;
  if (!g->vm) return kError;
  LuaCtx* ctx = begin(h, srv, kind);
  ctx->finish = finish;
  h->calling = true;
  const int loaded = push_handler(ctx, handler);
  if (loaded == kOk)
    resume_co(start_entry(ctx, kind.phase), 0);
  else
    finish(ctx, kError);
  h->calling = false;
  if (!h->done) return kAgain;
  if (c->log.enabled(kLogDebug))
    log_write(c->log, c, kLogDebug, 0, "%s: handler return value: %d, %s exit code: %d",
              kind.directive, h->code, kind.callback, h->result == kOk ? 1 : 0);
  return h->result;
}

// Nothing can wait while OpenSSL hands out a session: the handler runs like set_by_lua's.
void store(Handshake* h, const ServerConf* srv) {
  Generation* g = h->gen;
  const Handler* handler = srv->ssl_session_store.get();
  if (!g->vm) return;
  // With its result the handshake goes on, whatever it is.
  Request* before = h->request;
  LuaCtx* ctx = begin(h, srv, kStore);
  Request* r = ctx->r;
  int rc = push_handler(ctx, handler);
  if (rc == kOk) {
    lua_State* L = ctx->L();
    lua_setexdata(L, r);
    {
      RunningLua running(g, L, 0, h->c);
      rc = lua::protected_call(L, 0, 0);
    }
    lua_setexdata(L, nullptr);
    if (rc != 0) {
      const Str message = lua::error_text(L, "unknown reason");
      MOONPHASE_LOG(r, kLogErr, 0, "failed to run session_store_by_lua*: %.*s", STR(message));
      lua_pop(L, 1);
      rc = kError;
    }
  }
  if (h->c->log.enabled(kLogDebug))
    log_write(h->c->log, h->c, kLogDebug, 0,
              "%s: handler return value: %d, sess new cb exit code: %d", kStore.directive, rc,
              h->entered && h->result == kOk && rc == kOk && !ctx->exited ? 1 : 0);
  h->request = before;
  finish_fake_request(r);
  h->c->action = "SSL handshaking";
}

}  // namespace

Handshake* handshake_of(const http::Request* r) {
  const http::Connection* c = r->conn->handshake_of ? r->conn->handshake_of : r->conn;
  return static_cast<Handshake*>(c->tls_lua);
}

Rc handshake_client_hello(http::Connection* c, int*) {
  const ServerConf* srv = server_of(c);
  if (static_cast<const ServerConf*>(c->listen->default_server)->ssl_client_hello) {
    if (!srv->ssl_client_hello) {
      log_write(c->log, c, kLogAlert, 0, "no ssl_client_hello_by_lua* defined in server %s",
                srv->name().c_str());
      return kError;
    }
    if (!(c->tls_lua && handshake(c)->entered & kPhaseSslClientHello))
      log_reusable(c, "client hello");
    const Rc rc = run(c, srv, srv->ssl_client_hello.get(), kHello);
    if (rc != kOk) return rc;
  }
  // OpenSSL's own callback for sessions cannot wait, so they are looked up here, when it is certain
  // that it will ask.
  if (!srv->ssl_session_fetch) return kOk;
  if (net::hello_takes_tls13(c->tls())) {
    if (c->log.enabled(kLogDebug))
      log_write(c->log, c, kLogDebug, 0,
                "ssl_session_fetch_by_lua*: skipped since TLS version >= 1.3 (304)");
    return kOk;
  }
  const Str id = net::hello_session_id(c->tls());
  if (id.empty()) return kOk;
  Handshake* h = handshake(c);
  h->session_id.assign(id);
  if (!(h->entered & kPhaseSslSessionFetch)) log_reusable(c, "session fetch");
  // A handler that fails has found nothing.
  return run(c, srv, srv->ssl_session_fetch.get(), kFetch) == kAgain ? kAgain : kOk;
}

std::string certificate_file(const Plan& plan, Str name) {
  const bool whole =
      name.starts_with('/') || name.starts_with("data:") || name.starts_with("engine:");
  return (whole ? std::string() : plan.conf_prefix) + std::string(name);
}

namespace {

// ssl_certificate with variables: they are asked for in a request that has the handshake only.
Rc load_certificates(http::Connection* c, const ServerConf* srv) {
  Generation* g = handshake(c)->gen;
  Request* r = g->runtime->fake_request(g, 0);
  inherit_request(r, srv, srv->conf, c->listen, c->addr_text);
  r->conn->handshake_of = c;
  r->conn->ssl = true;
  r->variables = r->pool->array<VarValue>(g->plan->variables.size());
  bool ok = true;
  for (const auto& [certificate, key] : srv->certificates_by_name) {
    std::string error;
    ok = net::use_certificate(c->tls(), certificate_file(*g->plan, eval(r, certificate)),
                              certificate_file(*g->plan, eval(r, key)), srv->tls->password_file,
                              &error);
    if (ok) continue;
    log_write(c->log, c, kLogErr, 0, "%s", error.c_str());
    break;
  }
  r->conn->handshake_of = nullptr;
  finish_fake_request(r);
  return ok ? kOk : kError;
}

}  // namespace

Rc handshake_certificate(http::Connection* c) {
  const ServerConf* srv = server_of(c);
  // A server without certificates is served by the default server's context, and that one's
  // handler is asked for.
  const auto* by =
      srv->tls_context ? srv : static_cast<const ServerConf*>(c->listen->default_server);
  if (!by->ssl_certificate)
    return by->certificates_by_name.empty() ? kOk : load_certificates(c, by);
  if (!(c->tls_lua && handshake(c)->entered & kPhaseSslCert)) log_reusable(c, "cert");
  if (!srv->ssl_certificate) {
    log_write(c->log, c, kLogAlert, 0, "no ssl_certificate_by_lua* defined in server %s",
              srv->name().c_str());
    return kError;
  }
  return run(c, srv, srv->ssl_certificate.get(), kCert);
}

void handshake_new_session(http::Connection* c, SSL_SESSION* session) {
  const ServerConf* srv = server_of(c);
  keep_tls_session(srv, c->tls(), session);
  if (!srv->ssl_session_store) return;
  if (net::is_tls13(c->tls())) {
    if (c->log.enabled(kLogDebug))
      log_write(c->log, c, kLogDebug, 0,
                "ssl_session_store_by_lua*: skipped since TLS version >= 1.3 (304)");
    return;
  }
  log_reusable(c, "session store");
  Handshake* h = handshake(c);
  net::free_session_if(std::exchange(h->session, session), h->owns_session);
  h->owns_session = false;
  h->session_id = net::session_id(session);
  store(h, srv);
  h->session = nullptr;
}

SSL_SESSION* handshake_get_session(http::Connection* c, Str id) {
  Handshake* h = c->tls_lua ? handshake(c) : nullptr;
  if (!h || !h->owns_session) return find_tls_session(server_of(c), id);
  if (c->log.enabled(kLogDebug))
    log_write(c->log, c, kLogDebug, 0, "ssl_session_fetch_by_lua*: sess get cb exit code: 1");
  h->owns_session = false;
  return std::exchange(h->session, nullptr);
}

void handshake_closed(http::Connection* c) {
  auto* h = static_cast<Handshake*>(std::exchange(c->tls_lua, nullptr));
  c->server->loop->cancel(&h->go_on);
  if (h->request) {
    if (c->log.enabled(kLogDebug))
      log_write(c->log, c, kLogDebug, 0, "%s: %s aborted",
                h->phase == kPhaseSslCert          ? kCert.directive
                : h->phase == kPhaseSslClientHello ? kHello.directive
                                                   : kFetch.directive,
                h->phase == kPhaseSslCert          ? kCert.callback
                : h->phase == kPhaseSslClientHello ? kHello.callback
                                                   : "sess_fetch cb");
    h->request->conn->handshake_of = nullptr;
    finish_fake_request(h->request);
  }
  net::free_session_if(h->session, h->owns_session);
  if (h->ctx_ref >= 0 && h->gen->vm) {
    if (c->log.enabled(kLogDebug))
      log_write(c->log, c, kLogDebug, 0, "lua release ngx.ctx at ref %d", h->ctx_ref);
    lua_State* L = h->gen->vm->L();
    lua_pushliteral(L, "ngx_lua_ctx_tables");
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (lua_istable(L, -1)) luaL_unref(L, -1, h->ctx_ref);
    lua_pop(L, 1);
  }
  release(h->gen);
  c->server->loop->defer_free([](void* p) { delete static_cast<Handshake*>(p); }, h);
}

}  // namespace moonphase::engine
