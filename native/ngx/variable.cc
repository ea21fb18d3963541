// ngx.var.
#include <algorithm>

#include "engine/variables/variables.h"

#include "ngx/api.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

namespace {

// Itself, if it has no capitals.
Str lower_into(char* buf, const void* name, size_t n) {
  const char* p = static_cast<const char*>(name);
  auto capital = [](char c) { return c >= 'A' && c <= 'Z'; };
  if (std::none_of(p, p + n, capital)) return {p, n};
  for (size_t i = 0; i < n; ++i) buf[i] = capital(p[i]) ? static_cast<char>(p[i] | 0x20) : p[i];
  return {buf, n};
}

}  // namespace

// lua-resty-core makes ngx.var itself.
void open_variable(lua_State*) {}

}  // namespace moonphase::ngx

using namespace moonphase;
using namespace moonphase::ngx;

MOONPHASE_FFI int ngx_http_lua_ffi_var_get(Request* r, const char* name_data, size_t name_len,
                                           char* lowcase_buf, int capture_id, char** value,
                                           size_t* value_len, char** err) {
  if (!r) return ffi_error(err, "no request object found");
  if (is_fake(r)) return ffi_error(err, "API disabled in the current context");
  if (!name_data) {
    int n = capture_id * 2;
    if (capture_id <= 0 || !r->captures || !r->captures_data.data() || n >= r->ncaptures) {
      return kDeclined;
    }
    int from = r->captures[n], to = r->captures[n + 1];
    *value = const_cast<char*>(r->captures_data.data()) + from;
    *value_len = static_cast<size_t>(to - from);
    return kOk;
  }
  http::VarValue* v = engine::get_variable(r, lower_into(lowcase_buf, name_data, name_len));
  if (!v || v->not_found) return kDeclined;
  *value = const_cast<char*>(v->data.data());
  *value_len = v->data.size();
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_var_set(Request* r, const unsigned char* name_data,
                                           size_t name_len, unsigned char* lowcase_buf,
                                           const unsigned char* value, size_t value_len,
                                           unsigned char* errbuf, size_t* errlen) {
  if (!r) return ffi_error(errbuf, errlen, "no request object found");
  if (is_fake(r)) return ffi_error(errbuf, errlen, "API disabled in the current context");
  Str name = lower_into(reinterpret_cast<char*>(lowcase_buf), name_data, name_len);
  Str text;
  if (value) text = r->pool->copy(str(value, value_len));
  const char* error = nullptr;
  if (engine::set_variable(r, name, value ? &text : nullptr, &error, *r->pool) == kOk) return kOk;
  return ffi_error(errbuf, errlen, "%s", error ? error : "failed");
}
