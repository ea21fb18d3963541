// auth_request: a subrequest decides over access (ngx_http_auth_request_module).
#include "engine/lifecycle.h"
#include "engine/modules/proxy.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"
#include "http/body.h"
#include "http/output.h"

namespace moonphase::engine {

namespace {

struct Ctx {
  bool done = false;
  int status = 0;
  Request* subrequest = nullptr;
};

const AuthRequestConf* conf_of(const LocConf& conf) {
  return static_cast<const AuthRequestConf*>(conf.module[kModAuthRequest].get());
}

int subrequest_done(Request* sr, void* data, int rc) {
  auto* ctx = static_cast<Ctx*>(data);
  MOONPHASE_LOG(sr, kLogDebug, 0, "auth request done s:%d", sr->headers_out.status);
  ctx->done = true;
  ctx->status = sr->headers_out.status;
  return rc;
}

// The client learns how to authenticate from what the subrequest was told.
void copy_challenges(Request* r, Request* sr) {
  const Header* h = sr->headers_out.www_authenticate;
  if (const Upstream* u = Upstream::of(sr); !h && u) h = u->head.www_authenticate;
  for (; h; h = h->same)
    if (h->hash) http::add_header_out(r, h->name, h->value);
}

int decide(Request* r, const AuthRequestConf& conf, const Ctx& ctx) {
  // Now, so that internal redirects keep them.
  for (const auto& [variable, value] : conf.set)
    set_indexed(r, variable, eval(ctx.subrequest, value));
  if (ctx.status == 403) return 403;
  if (ctx.status == 401) {
    copy_challenges(r, ctx.subrequest);
    return 401;
  }
  if (ctx.status >= 200 && ctx.status < 300) return kOk;
  MOONPHASE_LOG(r, kLogErr, 0, "auth request unexpected status: %d", ctx.status);
  return 500;
}

int auth_request_handler(Request* r) {
  const AuthRequestConf* conf = conf_of(*loc(r));
  if (!conf || conf->uri.empty()) return kDeclined;
  if (auto* ctx = static_cast<Ctx*>(r->ctx[kModAuthRequest]))
    return ctx->done ? decide(r, *conf, *ctx) : int{kAgain};

  auto* ctx = r->pool->make<Ctx>();
  auto* ps = r->pool->make<http::PostSubrequest>();
  ps->handler = subrequest_done;
  ps->data = ctx;
  Str uri = conf->uri.literal() ? Str(conf->uri.text) : eval(r, conf->uri);
  if (subrequest(r, uri, {}, &ctx->subrequest, ps, kSubWaited) != kOk) return kError;
  // A body of its own, empty: nobody reads the client's for it.
  ctx->subrequest->body = r->pool->make<http::Body>();
  ctx->subrequest->header_only = true;
  r->ctx[kModAuthRequest] = ctx;
  return kAgain;
}

}  // namespace

void register_auth_request() {
  add_step({Phase::kAccess, auth_request_handler, [](const Plan& plan) {
              for (const auto& conf : plan.confs)
                if (conf->module[kModAuthRequest]) return true;
              return false;
            }});
}

}  // namespace moonphase::engine
