// ngx.req: query and form arguments.
#include "base/escape.h"
#include "http/body.h"
#include "ngx/args.h"
#include "ngx/request.h"

namespace moonphase::ngx {

namespace {

int set_uri_args(lua_State* L) {
  if (lua_gettop(L) != 1) return luaL_error(L, "expecting 1 argument but seen %d", lua_gettop(L));
  Request* r = client_request(L);
  switch (lua_type(L, 1)) {
    case LUA_TNUMBER:
      r->args = r->pool->copy(check_str(L, 1));
      break;
    case LUA_TSTRING: {
      Str text = check_str(L, 1);
      Str safe = percent_encode(*r->pool, text, Percent::kUnsafeArgs);
      r->args = safe.data() == text.data() ? r->pool->copy(text) : safe;
      break;
    }
    case LUA_TTABLE: {
      std::string text;
      append_args(L, 1, &text);
      r->args = r->pool->copy(text);
      break;
    }
    default: {
      const char* message =
          lua_pushfstring(L, "string, number, or table expected, but got %s", luaL_typename(L, 1));
      return luaL_argerror(L, 1, message);
    }
  }
  r->valid_unparsed_uri = false;
  return 0;
}

int get_post_args(lua_State* L) {
  int n = lua_gettop(L);
  if (n > 1) return luaL_error(L, "expecting 0 or 1 arguments but seen %d", n);
  int max = n == 1 ? static_cast<int>(luaL_checkinteger(L, 1)) : kMaxArgs;
  lua_settop(L, 0);
  Request* r = client_request(L);
  if (r->discard_body) {
    lua_newtable(L);
    return 1;
  }
  if (!r->body) {
    return luaL_error(L, "no request body found; maybe you should turn on lua_need_request_body?");
  }
  if (r->body->temp_file) {
    lua_pushnil(L);
    lua_pushliteral(L, "request body in temp file not supported");
    return 2;
  }
  std::string text;
  for (Chain* c = r->body->bufs; c; c = c->next) text.append(c->buf->bytes());
  return push_args(L, text, max);
}

}  // namespace

void add_request_args(lua_State* L) {
  static const luaL_Reg kFunctions[] = {
      {"set_uri_args", set_uri_args}, {"get_post_args", get_post_args}, {nullptr, nullptr}};
  set_functions(L, kFunctions);
}

}  // namespace moonphase::ngx

using namespace moonphase;
using namespace moonphase::ngx;

MOONPHASE_FFI size_t ngx_http_lua_ffi_req_get_querystring_len(Request* r) { return r->args.size(); }

MOONPHASE_FFI int ngx_http_lua_ffi_req_get_uri_args_count(Request* r, int max, int* truncated) {
  if (is_fake(r)) return kBadContext;
  *truncated = 0;
  if (max < 0) max = kMaxArgs;
  if (r->args.empty()) return 0;
  int count = 1;
  for (char c : r->args) count += c == '&';
  if (count > 1 && max > 0 && count > max) {
    MOONPHASE_LOG(r, kLogDebug, 0, "lua hit query args limit %d", max);
    *truncated = 1;
    return max;
  }
  return count;
}

MOONPHASE_FFI int ngx_http_lua_ffi_req_get_uri_args(Request* r, unsigned char* buf, NgxFfiElt* out,
                                                    int count) {
  if (count <= 0) return kOk;
  char* p = reinterpret_cast<char*>(buf);
  std::memcpy(p, r->args.data(), r->args.size());
  char* end = p + r->args.size();
  int i = 0;
  while (p < end && i < count) {
    char* stop = static_cast<char*>(std::memchr(p, '&', end - p));
    if (!stop) stop = end;
    char* equals = static_cast<char*>(std::memchr(p, '=', stop - p));
    char* key_end = percent_decode(p, str(p, (equals ? equals : stop) - p));
    if (key_end != p) {
      out[i].key = ffi_str(str(p, key_end - p));
      if (equals) {
        char* value = equals + 1;
        out[i].value = ffi_str(str(value, percent_decode(value, str(value, stop - value)) - value));
      } else {
        out[i].value = {-1, nullptr};
      }
      ++i;
    }
    p = stop + 1;
  }
  return i;
}
