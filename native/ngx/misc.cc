// ngx.status, ngx.headers_sent, ngx.is_subrequest, ngx.req.is_internal, os.getenv in init_by_lua.
#include "engine/running.h"
#include "http/request.h"
#include "ngx/ffi.h"

using namespace moonphase;
using namespace moonphase::ngx;

MOONPHASE_FFI int ngx_http_lua_ffi_get_resp_status(Request* r) {
  if (is_fake(r)) return ngx::kBadContext;
  if (r->err_status) return r->err_status;
  if (r->headers_out.status) return r->headers_out.status;
  return r->http_version == http::kVersion09 ? 9 : 0;
}

MOONPHASE_FFI int ngx_http_lua_ffi_set_resp_status_and_reason(Request* r, int status,
                                                              const char* reason,
                                                              size_t reason_len) {
  if (is_fake(r)) return ngx::kBadContext;
  if (r->header_sent) {
    MOONPHASE_LOG(r, kLogErr, 0, "attempt to set ngx.status after sending out response headers");
    return kDeclined;
  }
  // A status line has three digits.
  if (status < 100 || status > 999) {
    MOONPHASE_LOG(r, kLogErr, 0, "invalid HTTP status code %d", status);
    return kDeclined;
  }
  r->headers_out.status = status;
  r->err_status = 0;
  if (status == 101) {
    r->headers_out.status_line = "101 Switching Protocols";
  } else if (reason && reason_len) {
    char digits[8];
    snprintf(digits, sizeof digits, "%d ", status);
    r->headers_out.status_line = r->pool->join({digits, str(reason, reason_len)});
  } else {
    r->headers_out.status_line = Str();
  }
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_set_resp_status(Request* r, int status) {
  return ngx_http_lua_ffi_set_resp_status_and_reason(r, status, nullptr, 0);
}

MOONPHASE_FFI int ngx_http_lua_ffi_req_is_internal(Request* r) {
  return is_fake(r) ? ngx::kBadContext : r->internal;
}

MOONPHASE_FFI int ngx_http_lua_ffi_is_subrequest(Request* r) {
  return is_fake(r) ? ngx::kBadContext : !r->is_main();
}

MOONPHASE_FFI int ngx_http_lua_ffi_headers_sent(Request* r) {
  if (!engine::ctx_of(r)) return ngx::kNoReqCtx;
  return is_fake(r) ? ngx::kBadContext : r->header_sent;
}

// Gives NAME=VALUE and the length of NAME.
MOONPHASE_FFI int ngx_http_lua_ffi_get_conf_env(const unsigned char* name, unsigned char** env_buf,
                                                size_t* name_len) {
  engine::Generation* g = engine::running();
  if (!g) return kDeclined;
  static thread_local std::string t_entry;
  for (const engine::EnvVar& e : g->plan->env) {
    if (!e.has_value || e.name != reinterpret_cast<const char*>(name)) continue;
    t_entry = e.name + '=' + e.value;
    *env_buf = reinterpret_cast<unsigned char*>(t_entry.data());
    *name_len = e.name.size();
    return kOk;
  }
  return kDeclined;
}
