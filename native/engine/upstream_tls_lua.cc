// Lua in the handshake with the server that a request is passed on to:
// proxy_ssl_certificate_by_lua* and proxy_ssl_verify_by_lua*. It runs as the request's own, with
// its ngx.ctx.
#include <utility>

#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/scheduler.h"
#include "engine/upstream.h"
#include "net/tls_client.h"

namespace moonphase::engine {

namespace {

struct Kind {
  const char *name, *directive, *callback, *action;
};
constexpr Kind kCert{"proxy ssl cert", "proxy_ssl_certificate_by_lua", "cert cb",
                     "loading proxy ssl certificate by lua"};
constexpr Kind kVerify{"proxy ssl verify", "proxy_ssl_verify_by_lua", "cert verify callback",
                       "loading proxy ssl verify by lua"};

const Kind& kind_of(uint32_t phase) { return phase == kPhaseProxySslCert ? kCert : kVerify; }

// The coroutines of a handler have ended.
void finish(LuaCtx* ctx, int rc) {
  const int code = ctx->exited ? ctx->exit_code : rc;
  Upstream* u = Upstream::of(ctx->r);
  cleanup(ctx);
  u->tls_lua_ended(code);
}

void let_certificate_go(UpstreamTlsLua* t) {
  net::free_certificate(std::exchange(t->verified, nullptr));
}

}  // namespace

void Upstream::begin_tls_lua() {
  const LuaLocConf& lua_conf = loc(r)->lua;
  if (!lua_conf.proxy_ssl_certificate && !lua_conf.proxy_ssl_verify) return;
  if (!tls_lua) tls_lua = r->pool->make<UpstreamTlsLua>();
  *tls_lua = {};
  tls_lua->go_on.data = this;
  tls_lua->go_on.fn = [](void* p) {
    auto* u = static_cast<Upstream*>(p);
    u->r->conn->current = u->r;
    u->handshake();
  };
  net::ask_owner(stream_->tls, lua_conf.proxy_ssl_certificate != nullptr,
                 lua_conf.proxy_ssl_verify != nullptr);
}

// The connection is given up.
void Upstream::end_tls_lua() {
  UpstreamTlsLua* t = tls_lua;
  net::current_loop()->cancel(&t->go_on);
  let_certificate_go(t);
  if (t->done) return;
  t->done = true;
  MOONPHASE_LOG(r, kLogDebug, 0, "%s: %s aborted", kind_of(t->phase).directive,
                kind_of(t->phase).callback);
  LuaCtx* ctx = ctx_of(r);
  if (ctx && ctx->phase == t->phase) cleanup(ctx);
}

void Upstream::tls_lua_ended(int code) {
  UpstreamTlsLua* t = tls_lua;
  t->code = code;
  t->result = code == kError || code >= 300 ? kError : kOk;
  t->done = true;
  r->conn->action = "proxy pass SSL handshaking";
  if (!t->calling) net::current_loop()->post(&t->go_on);
}

// kAgain: the handler waits.
Rc Upstream::run_tls_lua(const HandlerPtr& handler, uint32_t phase) {
  UpstreamTlsLua* t = tls_lua;
  const Kind& kind = kind_of(phase);
  if (t->entered & phase) {
    if (!t->done) return kAgain;
    if (t->phase != phase) return kOk;
    MOONPHASE_LOG(r, kLogDebug, 0, "%s: %s exit code: %d", kind.directive, kind.callback,
                  t->result == kOk ? 1 : 0);
    return t->result;
  }
  MOONPHASE_LOG(r, kLogDebug, 0, "%s: connection reusable: 0", kind.name);
  LuaCtx* ctx = lua_ctx(r);
  if (!ctx) return kError;
  t->entered |= phase;
  t->phase = phase;
  t->done = false;
  t->result = kOk;
  r->conn->action = kind.action;
  reset(ctx);
  ctx->finish = finish;
  t->calling = true;
  enter_phase(ctx, phase);
  const int loaded = push_handler(ctx, handler.get());
  if (loaded == kOk)
    resume_co(start_entry(ctx, phase), 0);
  else
    finish(ctx, kError);
  t->calling = false;
  if (!t->done) return kAgain;
  MOONPHASE_LOG(r, kLogDebug, 0, "%s: handler return value: %d, %s exit code: %d", kind.directive,
                t->code, kind.callback, t->result == kOk ? 1 : 0);
  return t->result;
}

Rc Upstream::tls_certificate() {
  if (!tls_lua) return kOk;
  return run_tls_lua(loc(r)->lua.proxy_ssl_certificate, kPhaseProxySslCert);
}

// OpenSSL makes a new store for each try: what Lua has said is kept here.
Rc Upstream::tls_verify(X509_STORE_CTX* store) {
  const LuaLocConf& lua_conf = loc(r)->lua;
  if (!tls_lua || !lua_conf.proxy_ssl_verify) return net::verify_store(store) ? kOk : kError;
  UpstreamTlsLua* t = tls_lua;
  if (!(t->entered & kPhaseProxySslVerify)) {
    if (!lua_conf.skip_default_verify) {
      MOONPHASE_LOG(r, kLogDebug, 0, "proxy_ssl_verify_by_lua: openssl default verify");
      if (!net::verify_store(store)) return kError;
    }
    t->verify_result = net::store_error(store);
    t->verified = net::retain_store_certificate(store);
  }
  const Rc rc = run_tls_lua(lua_conf.proxy_ssl_verify, kPhaseProxySslVerify);
  if (rc == kAgain) return rc;
  let_certificate_go(t);
  net::set_store_error(store, t->verify_result);
  return rc;
}

}  // namespace moonphase::engine
