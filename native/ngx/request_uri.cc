// ngx.req.set_uri.
#include "base/escape.h"
#include "http/uri.h"
#include "ngx/request.h"

namespace moonphase::ngx {

namespace {

// Control bytes but the tab.
int unsafe_byte(Str s) {
  for (unsigned char c : s) {
    if ((c < 32 && c != '\t') || c == 0x7f) return c;
  }
  return -1;
}

int set_uri(lua_State* L) {
  int n = lua_gettop(L);
  if (n < 1 || n > 3) return luaL_error(L, "expecting 1, 2 or 3 arguments but seen %d", n);
  Request* r = client_request(L, "no request found");
  Str uri = check_str(L, 1);
  if (uri.empty()) return luaL_error(L, "attempt to use zero-length uri");

  bool binary = false;
  if (n >= 3) {
    luaL_checktype(L, 3, LUA_TBOOLEAN);
    binary = lua_toboolean(L, 3);
  }
  int byte = binary ? -1 : unsafe_byte(uri);
  if (byte >= 0) {
    std::string shown;
    append_log_escaped(&shown, uri);
    char hex[3];
    snprintf(hex, sizeof hex, "%02x", byte);
    return luaL_error(L,
                      "unsafe byte \"0x%s\" in uri \"%s\" (maybe you want to set the 'binary' "
                      "argument?)",
                      hex, shown.c_str());
  }

  bool jump = false;
  if (n >= 2) {
    luaL_checktype(L, 2, LUA_TBOOLEAN);
    jump = lua_toboolean(L, 2);
  }
  if (jump) {
    LuaCtx* ctx = engine::check(L, engine::kCapSetUri);
    MOONPHASE_LOG(r, kLogDebug, 0, "lua set uri jump to \"%.*s\"", STR(uri));
    if (ctx->no_abort) return luaL_error(L, "attempt to abort with pending subrequests");
  }

  r->uri = r->pool->copy(uri);
  r->internal = true;
  r->valid_unparsed_uri = false;
  http::set_exten(r);
  if (jump) {
    r->uri_changed = true;
    return lua_yield(L, 0);
  }
  r->valid_location = false;
  r->uri_changed = false;
  return 0;
}

}  // namespace

void add_request_uri(lua_State* L) {
  lua_pushcfunction(L, set_uri);
  lua_setfield(L, -2, "set_uri");
}

}  // namespace moonphase::ngx
