// ngx.req: headers, method, version and the raw header.
#include "base/escape.h"
#include "http/headers_in.h"
#include "ngx/api.h"
#include "ngx/request.h"

namespace moonphase::ngx {

namespace {

bool lower_equal(Str name, Str lower) {
  if (name.size() != lower.size()) return false;
  for (size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c) != lower[i]) return false;
  }
  return true;
}

// What nginx takes for a host: no path separator, no NUL, no empty label.
bool valid_host(Str host) {
  size_t end = host.size(), dot = Str::npos;
  bool literal = false, port = false;
  for (size_t i = 0; i < host.size(); ++i) {
    switch (host[i]) {
      case '.':
        if (i > 0 && dot == i - 1) return false;
        dot = i;
        break;
      case ':':
        if (!literal && !port) {
          end = i;
          port = true;
        }
        break;
      case '[':
        literal = i == 0;
        break;
      case ']':
        if (literal && !port) {
          end = i + 1;
          port = true;
        }
        break;
      case '\0':
      case '/':
        return false;
      default:
        break;
    }
  }
  if (end > 0 && dot == end - 1) --end;
  return end > 0;
}

int http_version(lua_State* L) {
  Request* r = client_request(L);
  switch (r->http_version) {
    case http::kVersion09:
      lua_pushnumber(L, 0.9);
      break;
    case http::kVersion10:
      lua_pushnumber(L, 1.0);
      break;
    case http::kVersion11:
      lua_pushnumber(L, 1.1);
      break;
    case http::kVersion20:
      lua_pushnumber(L, 2.0);
      break;
    default:
      lua_pushnil(L);
      break;
  }
  return 1;
}

int raw_header(lua_State* L) {
  bool no_line = lua_gettop(L) > 0 && lua_toboolean(L, 1);
  Request* r = client_request(L)->main;
  if (r->http_version == http::kVersion20) return luaL_error(L, "http2 requests not supported yet");
  Str text = r->request_line.empty() ? Str() : r->header_bytes;
  if (no_line) {
    size_t line = text.find('\n');
    text = line == Str::npos ? Str() : text.substr(line + 1);
  }
  push_str(L, text);
  return 1;
}

// For VMs without lua-resty-core's own.
int set_header(lua_State* L) {
  if (lua_gettop(L) != 2) {
    return luaL_error(L, "expecting two arguments, but seen %d", lua_gettop(L));
  }
  Request* r = client_request(L);
  if (r->http_version < http::kVersion10) return 0;
  Str name = check_str(L, 1);
  int n = lua_istable(L, 2) ? static_cast<int>(lua_objlen(L, 2)) : 0;
  int rc = kOk;
  if (n) {
    for (int i = 1; i <= n && rc == kOk; ++i) {
      lua_rawgeti(L, 2, i);
      rc = set_request_header(r, name, check_str(L, -1), i == 1);
      lua_pop(L, 1);
    }
  } else {
    bool clear = lua_isnil(L, 2) || lua_istable(L, 2);
    rc = set_request_header(r, name, clear ? Str() : check_str(L, 2), true);
  }
  if (rc != kOk) {
    return luaL_error(L, "failed to set header %s (error: %d)", lua_tostring(L, 1), rc);
  }
  return 0;
}

}  // namespace

namespace {

// $host was computed from the header that is replaced now.
void forget_host(Request* r) {
  int index = engine::plan(r).variable("host");
  if (index < 0 || !r->variables) return;
  r->variables[index].valid = false;
  r->variables[index].not_found = false;
}

}  // namespace

int set_request_header(Request* r, Str name, Str value, bool override) {
  // A request that was refused while its header was read.
  if (r->headers_out.status == 400) return kOk;
  Arena& a = *r->pool;
  name = percent_encode(a, copy_z(a, name), Percent::kHeaderName);
  bool is_host = lower_equal(name, "host");
  if (is_host) forget_host(r);
  if (value.empty()) {
    Str nothing("");
    http::headers_in_set(r, name, override ? nullptr : &nothing, override);
    return kOk;
  }
  value = percent_encode(a, copy_z(a, value), Percent::kHeaderValue);
  if (is_host && !valid_host(value)) return kError;
  if (lower_equal(name, "content-length") && http::parse_offset(value) < 0) return kError;
  http::headers_in_set(r, name, &value, override);
  return kOk;
}

void open_request(lua_State* L) {
  static const luaL_Reg kFunctions[] = {{"http_version", http_version},
                                        {"raw_header", raw_header},
                                        {"set_header", set_header},
                                        {nullptr, nullptr}};
  push_subtable(L, "req");
  set_functions(L, kFunctions);
  add_request_args(L);
  add_request_uri(L);
  add_request_body(L);
  lua_pop(L, 1);
}

}  // namespace moonphase::ngx

using namespace moonphase;
using namespace moonphase::ngx;

MOONPHASE_FFI double ngx_http_lua_ffi_req_start_time(Request* r) {
  return static_cast<double>(r->start_sec) + static_cast<double>(r->start_msec) / 1000.0;
}

MOONPHASE_FFI int ngx_http_lua_ffi_req_get_headers_count(Request* r, int max, int* truncated) {
  if (is_fake(r)) return ngx::kBadContext;
  *truncated = 0;
  if (max < 0) max = kMaxHeaders;
  int count = 0;
  for (http::Header& h : r->headers_in.list) count += h.hash != 0;
  if (max > 0 && count > max) {
    MOONPHASE_LOG(r, kLogDebug, 0, "lua exceeding request header limit %d > %d", count, max);
    *truncated = 1;
    return max;
  }
  return count;
}

MOONPHASE_FFI int ngx_http_lua_ffi_req_get_headers(Request* r, NgxFfiElt* out, int count, int raw) {
  int n = 0;
  if (count <= 0) return kOk;
  for (http::Header& h : r->headers_in.list) {
    if (!h.hash) continue;
    out[n].key = ffi_str(raw ? h.name : h.lower);
    out[n].value = ffi_str(h.value);
    if (++n == count) break;
  }
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_req_set_header(Request* r, const unsigned char* key,
                                                  size_t key_len, const unsigned char* value,
                                                  size_t value_len, NgxFfiStr* mvals,
                                                  size_t mvals_len, int override, char** errmsg) {
  if (is_fake(r)) return ngx::kBadContext;
  if (r->http_version < http::kVersion10) return kDeclined;
  Str name = str(key, key_len);
  int rc = kOk;
  if (mvals && mvals_len) {
    for (size_t i = 0; i < mvals_len && rc == kOk; ++i) {
      rc = set_request_header(r, name, str(mvals[i]), override && i == 0);
    }
  } else {
    rc = set_request_header(r, name, mvals || !value ? Str() : str(value, value_len), override);
  }
  return rc == kOk ? kOk : ffi_error(errmsg, "failed to set header");
}

MOONPHASE_FFI int ngx_http_lua_ffi_req_get_method(Request* r) {
  return is_fake(r) ? ngx::kBadContext : static_cast<int>(r->method);
}

MOONPHASE_FFI int ngx_http_lua_ffi_req_get_method_name(Request* r, unsigned char** name,
                                                       size_t* len) {
  if (is_fake(r)) return ngx::kBadContext;
  *name = mutable_bytes(r->method_name);
  *len = r->method_name.size();
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_req_set_method(Request* r, int method) {
  static constexpr struct {
    uint32_t method;
    Str name;
  } kMethods[] = {
      {http::kGet, "GET"},           {http::kPost, "POST"},           {http::kPut, "PUT"},
      {http::kHead, "HEAD"},         {http::kDelete, "DELETE"},       {http::kOptions, "OPTIONS"},
      {http::kMkcol, "MKCOL"},       {http::kCopy, "COPY"},           {http::kMove, "MOVE"},
      {http::kPropfind, "PROPFIND"}, {http::kProppatch, "PROPPATCH"}, {http::kLock, "LOCK"},
      {http::kUnlock, "UNLOCK"},     {http::kPatch, "PATCH"},         {http::kTrace, "TRACE"},
  };
  if (is_fake(r)) return ngx::kBadContext;
  for (const auto& m : kMethods) {
    if (m.method != static_cast<uint32_t>(method)) continue;
    r->method = m.method;
    r->method_name = m.name;
    return kOk;
  }
  return kDeclined;
}
