#include "engine/modules/stub_status.h"

#include <cstdio>

#include "engine/lifecycle.h"
#include "engine/phases.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"
#include "http/body.h"

namespace moonphase::engine {

namespace {

http::Stats stats_of(const Request* r) { return generation(r)->runtime->stats.sum(); }

int stub_status_handler(Request* r) {
  if (!(r->method & (http::kGet | http::kHead))) return 405;
  if (int rc = http::discard_body(r); rc != kOk) return rc;
  http::Stats s = stats_of(r);
  auto n = [](int64_t value) { return static_cast<long long>(value); };
  char text[400];
  int length = std::snprintf(text, sizeof text,
                             "Active connections: %lld \n"
                             "server accepts handled requests\n"
                             " %lld %lld %lld \n"
                             "Reading: %lld Writing: %lld Waiting: %lld \n",
                             n(s.active), n(s.accepted), n(s.handled), n(s.requests), n(s.reading),
                             n(s.writing), n(s.waiting));
  return send_response(r, 200, "text/plain",
                       http::Complex{std::string(text, static_cast<size_t>(length)), {}});
}

int connections(Request* r, VarValue* v, Str, uintptr_t which) {
  http::Stats s = stats_of(r);
  int64_t values[] = {s.active, s.reading, s.writing, s.waiting};
  return found_number(r, v, values[which]);
}

constexpr VariableDef kVariables[] = {
    {"connections_active", connections, nullptr, 0, kVarNoCacheable},
    {"connections_reading", connections, nullptr, 1, kVarNoCacheable},
    {"connections_writing", connections, nullptr, 2, kVarNoCacheable},
    {"connections_waiting", connections, nullptr, 3, kVarNoCacheable},
    {nullptr, nullptr, nullptr, 0, 0},
};

}  // namespace

void register_stub_status() {
  set_content_handler(ContentKind::kStubStatus, stub_status_handler);
  add_variables(kVariables);
}

}  // namespace moonphase::engine
