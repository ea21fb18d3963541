#include "engine/upstream/tls_lua.h"

#include "engine/lifecycle.h"
#include "engine/side_run.h"

namespace moonphase::engine {

namespace {

struct Kind {
  uint32_t phase;
  HandlerPtr LuaLocConf::*handler;
  const char *action, *what, *directive, *callback;  // as log lines name them
};
constexpr Kind kCert{
    kPhaseProxySslCert, &LuaLocConf::proxy_ssl_certificate, "loading proxy ssl certificate by lua",
    "proxy ssl cert",   "proxy_ssl_certificate_by_lua",     "cert cb"};
constexpr Kind kVerify{
    kPhaseProxySslVerify, &LuaLocConf::proxy_ssl_verify, "loading proxy ssl verify by lua",
    "proxy ssl verify",   "proxy_ssl_verify_by_lua",     "cert verify callback"};

const Kind& kind_of(const TlsByLua* a) { return a->phase == kPhaseProxySslCert ? kCert : kVerify; }

void finish(TlsByLua* a, int code) {
  a->done = true;
  a->code = code;
  a->result = code == kError || code >= 300 ? kError : kOk;
  a->u->r->conn->action = "proxy pass SSL handshaking";
}

// The handler's coroutines have ended; gives the run back.
void ended(SideRun* s, int) {
  auto* a = static_cast<TlsByLua*>(s->data);
  const int code = s->failed ? 500 : s->ctx->exited ? s->ctx->exit_code : int{kOk};
  a->side = nullptr;
  close_side(s);
  finish(a, code);
  if (!a->calling) net::current_loop()->post(&a->go_on);
}

Rc begin(TlsByLua* a, const Kind& kind) {
  Request* r = a->u->r;
  a->phase = kind.phase;
  a->done = false;
  a->result = kOk;
  if (kind.phase == kPhaseProxySslVerify && !loc(r)->lua.upstream_skip_default_verify) {
    MOONPHASE_LOG(r, kLogDebug, 0, "%s: openssl default verify", kind.directive);
    if (!net::verify_by_default(&a->questions)) {
      finish(a, kError);
      return kError;
    }
  }
  LuaCtx* ctx = lua_ctx(r);
  if (!ctx) return kError;
  r->conn->action = kind.action;
  if (push_handler(ctx, (loc(r)->lua.*kind.handler).get()) != kOk) {
    finish(a, 500);
    return kError;
  }
  SideRun* s = open_side(ctx, kind.phase, ended);
  s->data = a;
  a->side = s;
  a->calling = true;
  const int rc = begin_side(s, 0);
  a->calling = false;
  if (rc == kDone) return kError;
  if (rc != kAgain) ended(s, rc), net::current_loop()->cancel(&a->go_on);
  if (!a->done) return kAgain;
  MOONPHASE_LOG(r, kLogDebug, 0, "%s: handler return value: %d, %s exit code: %d", kind.directive,
                a->code, kind.callback, a->result == kOk ? 1 : 0);
  return a->result;
}

Rc ask(net::TlsQuestions* q, const Kind& kind) {
  auto* a = static_cast<TlsByLua*>(q->owner);
  Request* r = a->u->r;
  MOONPHASE_LOG(r, kLogDebug, 0, "%s: connection reusable: 0", kind.what);
  if (a->phase != kind.phase) return begin(a, kind);
  if (!a->done) return kAgain;
  MOONPHASE_LOG(r, kLogDebug, 0, "%s: %s exit code: %d", kind.directive, kind.callback,
                a->result == kOk ? 1 : 0);
  return a->result;
}

}  // namespace

TlsByLua* ask_lua(Upstream& u) {
  const LuaLocConf& conf = loc(u.r)->lua;
  if (!conf.proxy_ssl_certificate && !conf.proxy_ssl_verify) return nullptr;
  auto* a = u.r->pool->make<TlsByLua>();
  a->u = &u;
  a->questions.owner = a;
  if (conf.proxy_ssl_certificate)
    a->questions.certificate = [](net::TlsQuestions* q) { return ask(q, kCert); };
  if (conf.proxy_ssl_verify)
    a->questions.verify = [](net::TlsQuestions* q) { return ask(q, kVerify); };
  a->go_on.data = a;
  a->go_on.fn = [](void* p) {
    Upstream* u = static_cast<TlsByLua*>(p)->u;
    u->r->conn->current = u->r;
    u->go_on_with_handshake();
  };
  return a;
}

void end_asking(TlsByLua* a) {
  net::current_loop()->cancel(&a->go_on);
  net::free_peer(&a->questions);
  if (!a->side) return;
  const Kind& kind = kind_of(a);
  MOONPHASE_LOG(a->u->r, kLogDebug, 0, "%s: %s aborted", kind.directive, kind.callback);
  SideRun* s = a->side;
  a->side = nullptr;
  if (ctx_of(a->u->r) == s->ctx) abort_side(s);  // else it has gone before
}

}  // namespace moonphase::engine
