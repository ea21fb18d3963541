// Variables of the answer and of time.
#include "base/clock.h"
#include "engine/lifecycle.h"
#include "engine/variables/core.h"
#include "http/gzip.h"

namespace moonphase::engine {

namespace {

// "1234.567"
int found_seconds(Request* r, VarValue* v, int64_t ms) {
  char* p = r->pool->bytes(24);
  int n = std::snprintf(p, 24, "%lld.%03d", static_cast<long long>(ms / 1000),
                        static_cast<int>(ms % 1000));
  return found(v, {p, static_cast<size_t>(n)});
}

int status(Request* r, VarValue* v, Str, uintptr_t) {
  int status = r->err_status                         ? r->err_status
               : r->headers_out.status               ? r->headers_out.status
               : r->http_version == http::kVersion09 ? 9
                                                     : 0;
  char* p = r->pool->bytes(12);
  return found(v, {p, static_cast<size_t>(std::snprintf(p, 12, "%03d", status))});
}

int bytes_sent(Request* r, VarValue* v, Str, uintptr_t) {
  return found_number(r, v, r->conn->sent);
}
int body_bytes_sent(Request* r, VarValue* v, Str, uintptr_t) {
  return found_number(r, v, std::max<int64_t>(r->conn->sent - r->header_size, 0));
}

int request_completion(Request* r, VarValue* v, Str, uintptr_t) {
  return found(v, r->request_complete ? "OK" : "");
}
int request_time(Request* r, VarValue* v, Str, uintptr_t) {
  int64_t ms = now().wall_ms - (r->start_sec * 1000 + r->start_msec);
  return found_seconds(r, v, std::max<int64_t>(ms, 0));
}
int connection_time(Request* r, VarValue* v, Str, uintptr_t) {
  return found_seconds(r, v, std::max<int64_t>(now().monotonic_ms - r->conn->start_ms, 0));
}
// "3.42": how many times smaller the body has become.
int gzip_ratio(Request* r, VarValue* v, Str, uintptr_t) {
  uint64_t in, out;
  if (!http::gzip_sizes(r, &in, &out)) return not_found(v);
  uint64_t thousandths = in * 1000 / out, hundredths = thousandths / 10 + (thousandths % 10 > 4);
  char* p = r->pool->bytes(32);
  int n = std::snprintf(p, 32, "%llu.%02d", static_cast<unsigned long long>(hundredths / 100),
                        static_cast<int>(hundredths % 100));
  return found(v, {p, static_cast<size_t>(n)});
}
int msec(Request* r, VarValue* v, Str, uintptr_t) { return found_seconds(r, v, now().wall_ms); }
int time_iso8601(Request* r, VarValue* v, Str, uintptr_t) {
  return found(v, r->pool->copy(iso8601_date()));
}
int time_local(Request* r, VarValue* v, Str, uintptr_t) {
  return found(v, r->pool->copy(access_log_date()));
}

}  // namespace

const VariableDef kResponseVariables[] = {
    {"status", status, nullptr, 0, kVarNoCacheable},
    // nginx's log module computes these two anew, whatever was read before.
    {"bytes_sent", bytes_sent, nullptr, 0, kVarNoCacheable},
    {"body_bytes_sent", body_bytes_sent, nullptr, 0, kVarNoCacheable},
    {"request_completion", request_completion, nullptr, 0, 0},
    {"request_time", request_time, nullptr, 0, kVarNoCacheable},
    {"connection_time", connection_time, nullptr, 0, kVarNoCacheable},
    {"gzip_ratio", gzip_ratio, nullptr, 0, kVarNoCacheable},
    {"msec", msec, nullptr, 0, kVarNoCacheable},
    {"time_iso8601", time_iso8601, nullptr, 0, kVarNoCacheable},
    {"time_local", time_local, nullptr, 0, kVarNoCacheable},
    {nullptr, nullptr, nullptr, 0, 0},
};

}  // namespace moonphase::engine
