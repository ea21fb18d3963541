// The walk of a request through nginx's phases: one checker per kind of phase
// (ngx_http_core_*_phase).
#include "engine/phases.h"

#include "engine/lifecycle.h"
#include "engine/locations.h"
#include "engine/path.h"
#include "engine/runtime.h"
#include "http/body.h"
#include "http/output.h"

namespace moonphase::engine {

namespace {

constexpr int kStop = kOk, kGoOn = kAgain;

int generic_checker(Request* r, const PhaseStep& step) {
  int rc = step.handler(r);
  if (rc == kOk) {
    r->phase_handler = step.next;
    return kGoOn;
  }
  if (rc == kDeclined) {
    r->phase_handler++;
    return kGoOn;
  }
  if (rc != kAgain && rc != kDone) finalize_request(r, rc);
  return kStop;
}

int rewrite_checker(Request* r, const PhaseStep& step) {
  int rc = step.handler(r);
  if (rc == kDeclined) {
    r->phase_handler++;
    return kGoOn;
  }
  if (rc != kDone) finalize_request(r, rc);
  return kStop;
}

bool body_too_large(Request* r) {
  int64_t limit = r->loc->client_max_body_size;
  if (r->headers_in.content_length_n == -1 || r->discard_body || limit == 0 ||
      r->headers_in.content_length_n <= limit)
    return false;
  MOONPHASE_LOG(r, kLogErr, 0, "client intended to send too large body: %lld bytes",
                static_cast<long long>(r->headers_in.content_length_n));
  r->expect_tested = true;
  http::discard_body(r);
  finalize_request(r, 413);
  return true;
}

int find_config_checker(Request* r, const PhaseStep&) {
  r->content_handler = nullptr;
  r->uri_changed = false;
  int rc = find_location(r);
  if (rc == kError) {
    finalize_request(r, 500);
    return kStop;
  }
  const LocConf* conf = loc(r);
  if (!r->internal && conf->internal) {
    finalize_request(r, 404);
    return kStop;
  }
  MOONPHASE_LOG(r, kLogDebug, 0, "using configuration \"%s%s\"",
                conf->kind == LocConf::kIf || conf->kind == LocConf::kServer ? "*"
                : conf->kind == LocConf::kExact                              ? "="
                                                                             : "",
                conf->name.c_str());
  update_location(r);
  if (body_too_large(r)) return kStop;
  if (rc == kDone) {
    Str name = conf->escaped_name;
    set_location(r, r->args.empty() ? name : r->pool->join({name, "?", r->args}));
    finalize_request(r, 301);
    return kStop;
  }
  r->phase_handler++;
  return kGoOn;
}

int post_rewrite_checker(Request* r, const PhaseStep& step) {
  if (!r->uri_changed) {
    r->phase_handler++;
    return kGoOn;
  }
  if (--r->uri_changes == 0) {
    MOONPHASE_LOG(r, kLogErr, 0, "rewrite or internal redirection cycle while processing \"%.*s\"",
                  STR(r->uri));
    finalize_request(r, 500);
    return kStop;
  }
  r->phase_handler = step.next;
  r->loc = r->srv->conf;
  return kGoOn;
}

bool is_refusal(int rc) { return rc == 401 || rc == 403 || rc == 407; }

int access_checker(Request* r, const PhaseStep& step) {
  if (!r->is_main()) {
    r->phase_handler = step.next;
    return kGoOn;
  }
  int rc = step.handler(r);
  if (rc == kDeclined) {
    r->phase_handler++;
    return kGoOn;
  }
  if (rc == kAgain || rc == kDone) return kStop;

  if (!r->loc->satisfy_any) {
    if (rc == kOk) {
      r->phase_handler++;
      return kGoOn;
    }
  } else if (rc == kOk) {
    r->access_code = 0;
    r->headers_out.list.remove_all("www-authenticate");
    r->headers_out.www_authenticate = nullptr;
    r->phase_handler = step.next;
    return kGoOn;
  } else if (is_refusal(rc)) {
    if (r->access_code != 401 && r->access_code != 407) r->access_code = rc;
    r->phase_handler++;
    return kGoOn;
  }
  if (rc == 401 || rc == 407) r->access_code = 0;
  finalize_request(r, rc);
  return kStop;
}

int post_access_checker(Request* r, const PhaseStep&) {
  int code = r->access_code;
  if (code == 0) {
    r->phase_handler++;
    return kGoOn;
  }
  if (code == 403) MOONPHASE_LOG(r, kLogErr, 0, "access forbidden by rule");
  r->access_code = 0;
  finalize_request(r, code);
  return kStop;
}

int no_content(Request* r) {
  if (r->uri.ends_with('/')) {
    Path path;
    if (map_uri_to_path(r, &path))
      MOONPHASE_LOG(r, kLogErr, 0, "directory index of \"%s\" is forbidden", path.name.data());
    return 403;
  }
  MOONPHASE_LOG(r, kLogErr, 0, "no handler found");
  return 404;
}

int content_checker(Request* r, const PhaseStep& step) {
  if (r->content_handler) {
    r->write_event_handler = empty_handler;
    finalize_request(r, r->content_handler(r));
    return kStop;
  }
  if (r->is_main() && !loc(r)->serves_files && r->conn->pass_on(r)) return kStop;
  int rc = step.handler(r);
  if (rc == kDeclined) {
    if (static_cast<size_t>(r->phase_handler) + 1 < plan(r).steps.size()) {
      r->phase_handler++;
      return kGoOn;
    }
    rc = no_content(r);
  }
  finalize_request(r, rc);
  return kStop;
}

}  // namespace

// The order of nginx's phases, with the checkers between the modules' handlers.
void add_checkers(Plan& plan, const std::vector<StepRow>& rows) {
  auto& steps = plan.steps;
  auto phase = [&](Phase p, int (*checker)(Request*, const PhaseStep&), int behind) {
    size_t from = steps.size();
    for (const StepRow& row : rows)
      if (row.phase == p) steps.push_back({checker, row.handler, 0});
    for (size_t i = from; i < steps.size(); ++i)
      steps[i].next = static_cast<int>(steps.size()) + behind;
    return static_cast<int>(from);
  };
  phase(Phase::kPostRead, generic_checker, 0);
  plan.server_rewrite_step = phase(Phase::kServerRewrite, rewrite_checker, 0);
  int find_config = static_cast<int>(steps.size());
  steps.push_back({find_config_checker, nullptr, 0});
  plan.location_rewrite_step = phase(Phase::kRewrite, rewrite_checker, 0);
  steps.push_back({post_rewrite_checker, nullptr, find_config});
  phase(Phase::kPreaccess, generic_checker, 0);
  phase(Phase::kAccess, access_checker, 1);  // behind post_access
  steps.push_back({post_access_checker, nullptr, 0});
  phase(Phase::kPrecontent, generic_checker, 0);
  phase(Phase::kContent, content_checker, 0);
}

void run_phases(Request* r) {
  const std::vector<PhaseStep>& steps = plan(r).steps;
  for (;;) {
    const PhaseStep& step = steps[static_cast<size_t>(r->phase_handler)];
    if (step.checker(r, step) == kStop) return;
  }
}

void start_request(Request* r) {
  r->conn->action = nullptr;
  if (r->internal) {
    r->phase_handler = plan(r).server_rewrite_step;
  } else {
    if (r->method != http::kConnect) {
      switch (r->headers_in.connection_type) {
        case http::HeadersIn::kNone:
          r->keepalive = r->http_version > http::kVersion10;
          break;
        case http::HeadersIn::kClose:
          r->keepalive = false;
          break;
        case http::HeadersIn::kKeepAlive:
          r->keepalive = true;
          break;
      }
    }
    r->lingering_close = r->headers_in.content_length_n > 0 || r->headers_in.chunked;
    r->phase_handler = 0;
  }
  r->valid_location = true;
  r->write_event_handler = run_phases;
  run_phases(r);
}

void resume_phase(Request* r, int rc) {
  const PhaseStep& waiting = plan(r).steps[static_cast<size_t>(r->phase_handler)];
  if (waiting.checker == content_checker) {
    finalize_request(r, rc);
    return;
  }
  // The checker decides over `rc` as if its handler had returned it just now.
  static thread_local int answer;
  answer = rc;
  PhaseStep step = waiting;
  step.handler = [](Request*) { return answer; };
  r->write_event_handler = run_phases;
  if (waiting.checker(r, step) != kStop) run_phases(r);
}

}  // namespace moonphase::engine
