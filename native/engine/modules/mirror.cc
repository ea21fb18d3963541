#include "engine/modules/mirror.h"

#include "engine/lifecycle.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "http/body.h"

namespace moonphase::engine {

namespace {

const MirrorConf* conf_of(const Request* r) {
  return static_cast<const MirrorConf*>(loc(r)->module[kModMirror].get());
}

// What the handler answers once the body is there; kDone until then.
struct Ctx {
  int answer = kDone;
};

int copy_request(Request* r) {
  for (const std::string& uri : conf_of(r)->uris) {
    Request* sr = nullptr;
    if (subrequest(r, uri, r->args, &sr, nullptr, kSubBackground) != kOk) return 500;
    sr->header_only = true;
    sr->method = r->method;
    sr->method_name = r->method_name;
  }
  return kDeclined;
}

void body_read(Request* r) {
  static_cast<Ctx*>(r->ctx[kModMirror])->answer = copy_request(r);
  r->preserve_body = true;
  r->write_event_handler = run_phases;
  run_phases(r);
}

int mirror_handler(Request* r) {
  const MirrorConf* conf = conf_of(r);
  if (!conf || conf->uris.empty() || !r->is_main()) return kDeclined;
  MOONPHASE_LOG(r, kLogDebug, 0, "mirror handler");
  if (!conf->request_body) return copy_request(r);
  if (auto* ctx = static_cast<Ctx*>(r->ctx[kModMirror])) return ctx->answer;
  r->ctx[kModMirror] = r->pool->make<Ctx>();
  int rc = http::read_body(r, body_read);
  if (rc >= 300) return rc;
  finalize_request(r, kDone);
  return kDone;
}

}  // namespace

void register_mirror() {
  add_step({Phase::kPrecontent, mirror_handler, [](const Plan& plan) {
              for (const auto& conf : plan.confs)
                if (conf->module[kModMirror]) return true;
              return false;
            }});
}

}  // namespace moonphase::engine
