// ngx.header and ngx.resp.
#include "http/headers_out.h"

#include <strings.h>

#include <algorithm>

#include "base/clock.h"
#include "base/escape.h"
#include "ngx/api.h"
#include "ngx/ffi.h"
#include "ngx/request.h"

namespace moonphase::ngx {

namespace {

bool is_name(Str key, Str name) {
  return key.size() == name.size() && strncasecmp(key.data(), name.data(), name.size()) == 0;
}

Str number_text(Arena& a, int64_t n) {
  char text[24];
  return a.copy(
      {text, static_cast<size_t>(snprintf(text, sizeof text, "%lld", static_cast<long long>(n)))});
}

int set_one(Request* r, LuaCtx* ctx, Str name, Str value, bool override) {
  http::sent_headers(r);
  value = percent_encode(*r->pool, copy_z(*r->pool, value), Percent::kHeaderValue);
  if (is_name(name, "Content-Type")) ctx->mime_set = true;
  return http::headers_out_set(r, name, value, override);
}

// __index of header tables: `t.Content_Type` finds "content-type".
int headers_index(lua_State* L) {
  Str key = check_str(L, 2);
  std::string lower(key);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    if (c == '_') c = '-';
  }
  if (lower == key) return 0;
  push_str(L, lower);
  lua_rawget(L, 1);
  return 1;
}

void set_pair(lua_State* L, Str key, Str value) {
  push_str(L, key);
  push_str(L, value);
  lua_rawset(L, -3);
}

// Upvalue 1: the metatable of the result.
int resp_get_headers(lua_State* L) {
  int n = lua_gettop(L);
  int max = n >= 1 && !lua_isnil(L, 1) ? static_cast<int>(luaL_checkinteger(L, 1)) : kMaxHeaders;
  bool raw = n >= 2 && lua_toboolean(L, 2);
  Request* r = engine::request_of(L);
  if (!r) return luaL_error(L, "no request object found");
  if (!engine::ctx_of(r)) return luaL_error(L, "no ctx found");
  if (is_fake(r)) return luaL_error(L, "API disabled in the current context");

  http::HeadersOut& out = http::sent_headers(r);
  int count = 0;
  for (http::Header& h : out.list) count += h.hash != 0;
  lua_createtable(L, 0, count + 2);
  if (!raw) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
  }

  // What the server adds by itself when the header is sent.
  int extra = 1;
  if (!out.content_type.empty()) {
    ++extra;
    set_pair(L, "content-type", out.content_type);
  }
  if (!out.content_length && out.content_length_n >= 0) {
    ++extra;
    set_pair(L, "content-length", number_text(*r->pool, out.content_length_n));
  }
  set_pair(L, "connection", out.status == 101 ? "upgrade" : r->keepalive ? "keep-alive" : "close");
  if (r->chunked) {
    ++extra;
    set_pair(L, "transfer-encoding", "chunked");
  }

  bool truncated = max > 0 && count + extra > max;
  if (truncated) {
    MOONPHASE_LOG(r, kLogDebug, 0, "lua exceeding response header limit %d > %d", count + extra,
                  max);
    count = std::max(max - extra, 1);
  }
  std::string lower;
  for (http::Header& h : out.list) {
    if (!h.hash) continue;
    if (raw) {
      push_str(L, h.name);
    } else {
      lower = h.name;
      for (char& c : lower) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
      }
      push_str(L, lower);
    }
    push_str(L, h.value);
    add_multi_value(L, -3);
    if (--count <= 0) break;
  }
  if (!truncated) return 1;
  lua_pushliteral(L, "truncated");
  return 2;
}

}  // namespace

void open_response(lua_State* L) {
  push_subtable(L, "resp");
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, headers_index);
  lua_setfield(L, -2, "__index");
  lua_pushcclosure(L, resp_get_headers, 1);
  lua_setfield(L, -2, "get_headers");
  lua_pop(L, 1);
}

}  // namespace moonphase::ngx

using namespace moonphase;
using namespace moonphase::ngx;

MOONPHASE_FFI int ngx_http_lua_ffi_set_resp_header(Request* r, const char* key_data, size_t key_len,
                                                   int is_nil, const char* sval, size_t sval_len,
                                                   NgxFfiStr* mvals, size_t mvals_len, int override,
                                                   char** errmsg) {
  LuaCtx* ctx = engine::ctx_of(r);
  if (!ctx) return ngx::kNoReqCtx;
  if (is_fake(r)) return ngx::kBadContext;
  if (r->header_sent || ctx->header_sent) {
    MOONPHASE_LOG(r, kLogErr, 0,
                  "attempt to set ngx.header.HEADER after sending out response headers");
    return kDeclined;
  }

  if (key_len == 0) return kOk;  // a header without a name is not sent

  char* copy = r->pool->bytes(key_len);
  std::memcpy(copy, key_data, key_len);
  if (engine::loc(r)->lua.transform_underscores) std::replace(copy, copy + key_len, '_', '-');
  Str name = percent_encode(*r->pool, {copy, key_len}, Percent::kHeaderName);
  ctx->headers_set = true;

  int rc = kOk;
  if (is_nil || (mvals && mvals_len == 0)) {
    rc = set_one(r, ctx, name, Str(), override);
  } else if (mvals) {
    for (size_t i = 0; i < mvals_len && rc == kOk; ++i) {
      rc = set_one(r, ctx, name, str(mvals[i]), override && i == 0);
    }
  } else {
    rc = set_one(r, ctx, name, {sval, sval_len}, override);
  }
  return rc == kOk ? kOk : ffi_error(errmsg, "failed to set header");
}

MOONPHASE_FFI int ngx_http_lua_ffi_get_resp_header(Request* r, const unsigned char* key,
                                                   size_t key_len, unsigned char* key_buf,
                                                   NgxFfiValue* values, int max_nvalues,
                                                   char** errmsg) {
  if (is_fake(r)) return ngx::kBadContext;
  if (!engine::ctx_of(r)) return ffi_error(errmsg, "no ctx found");
  Str name = str(key, key_len);
  if (engine::loc(r)->lua.transform_underscores && name.find('_') != Str::npos) {
    std::replace_copy(key, key + key_len, key_buf, '_', '-');
    name = str(key_buf, key_len);
  }

  http::HeadersOut& out = http::sent_headers(r);
  if (!out.content_length && out.content_length_n >= 0 && is_name(name, "Content-Length")) {
    values[0].text = ffi_str(number_text(*r->pool, out.content_length_n));
    return 1;
  }
  if (!out.content_type.empty() && is_name(name, "Content-Type")) {
    values[0].text = ffi_str(out.content_type);
    return 1;
  }
  if (is_name(name, "Last-Modified")) {
    if (out.last_modified_time < 0) return 0;
    char* text = r->pool->bytes(32);
    values[0].text = ffi_str({text, format_http_date(text, out.last_modified_time)});
    return 1;
  }

  int found = 0;
  for (http::Header& h : out.list) {
    if (!h.hash || !is_name(h.name, name)) continue;
    values[found++].text = ffi_str(h.value);
    if (found >= max_nvalues) break;
  }
  return found;
}

// ngx.resp.bypass_if_checks.
MOONPHASE_FFI int ngx_http_lua_ffi_bypass_if_checks(Request* r) {
  r->disable_not_modified = true;
  return kOk;
}
