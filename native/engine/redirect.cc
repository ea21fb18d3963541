// Redirects inside the server: to a URI, to a named location.
#include "engine/lifecycle.h"
#include "engine/locations.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "http/uri.h"

namespace moonphase::engine {

namespace {

// Modules begin anew, Lua too; what they registered for the request's end stays.
void forget_contexts(Request* r) {
  for (void*& ctx : r->ctx) ctx = nullptr;
  r->lua = nullptr;
}

LocConf* find_named(const Request* r, Str name) {
  for (const auto& [known, conf] : static_cast<const LocConf*>(r->srv->conf)->locations.named)
    if (known == name) return conf;
  return nullptr;
}

int fail(Request* r) {
  finalize_request(r, 500);
  return kDone;
}

}  // namespace

int internal_redirect(Request* r, Str uri, Str args) {
  if (--r->uri_changes == 0) {
    MOONPHASE_LOG(r, kLogErr, 0,
                  "rewrite or internal redirection cycle while internally redirecting to \"%.*s\"",
                  STR(uri));
    r->main->count++;
    return fail(r);
  }
  r->uri = uri;
  r->args = args;
  MOONPHASE_LOG(r, kLogDebug, 0, "internal redirect: \"%.*s?%.*s\"", STR(uri), STR(args));
  http::set_exten(r);
  forget_contexts(r);
  r->loc = r->srv->conf;
  update_location(r);
  r->internal = true;
  r->valid_unparsed_uri = false;
  r->add_uri_to_alias = false;
  r->main->count++;
  start_request(r);
  return kDone;
}

int named_location(Request* r, Str name) {
  r->main->count++;
  if (--r->uri_changes == 0) {
    MOONPHASE_LOG(r, kLogErr, 0,
                  "rewrite or internal redirection cycle while redirect to named location \"%.*s\"",
                  STR(name));
    return fail(r);
  }
  if (r->uri.empty()) {
    MOONPHASE_LOG(r, kLogErr, 0, "empty URI in redirect to named location \"%.*s\"", STR(name));
    return fail(r);
  }
  LocConf* conf = find_named(r, name);
  if (!conf) {
    MOONPHASE_LOG(r, kLogErr, 0, "could not find named location \"%.*s\"", STR(name));
    return fail(r);
  }
  MOONPHASE_LOG(r, kLogDebug, 0, "using location: %.*s \"%.*s?%.*s\"", STR(name), STR(r->uri),
                STR(r->args));
  r->internal = true;
  r->content_handler = nullptr;
  r->uri_changed = false;
  r->loc = conf;
  forget_contexts(r);
  update_location(r);
  r->phase_handler = plan(r).location_rewrite_step;
  r->write_event_handler = run_phases;
  run_phases(r);
  return kDone;
}

}  // namespace moonphase::engine
