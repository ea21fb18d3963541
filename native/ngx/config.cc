// ngx.config.
#include <cstdio>

#include "lua/vm.h"
#include "ngx/api.h"
#include "ngx/ffi.h"

#ifndef MOONPHASE_CONFIGURE
#define MOONPHASE_CONFIGURE                                              \
  "--with-compat --with-threads --with-pcre-jit --with-http_ssl_module " \
  "--with-http_stub_status_module"
#endif

namespace moonphase::ngx {

namespace {

engine::Generation* generation(lua_State* L) { return engine::generation_of(L); }

int prefix(lua_State* L) {
  engine::Generation* g = generation(L);
  push_str(L, g ? Str(g->plan->prefix) : Str());
  return 1;
}

int nginx_configure(lua_State* L) {
  lua_pushliteral(L, MOONPHASE_CONFIGURE);
  return 1;
}

// "nginx/1.31.2" → 1031002
int nginx_version(lua_State* L) {
  engine::Generation* g = generation(L);
  std::string text = g && g->runtime ? g->runtime->options.server_version : "nginx/1.31.2";
  unsigned major = 0, minor = 0, patch = 0;
  size_t slash = text.find('/');
  sscanf(text.c_str() + (slash == std::string::npos ? 0 : slash + 1), "%u.%u.%u", &major, &minor,
         &patch);
  return static_cast<int>(major * 1000000 + minor * 1000 + patch);
}

}  // namespace

void open_config(lua_State* L) {
  lua_createtable(L, 0, 6);
  // Libraries ask this before they log debug lines.
  const engine::Generation* g = generation(L);
  lua_pushboolean(L, g && g->plan->error_log.enabled(kLogDebug));
  lua_setfield(L, -2, "debug");
  lua_pushliteral(L, "http");
  lua_setfield(L, -2, "subsystem");
  lua_pushinteger(L, nginx_version(L));
  lua_setfield(L, -2, "nginx_version");
  lua_pushinteger(L, lua::Vm::of(L)->lua_version);
  lua_setfield(L, -2, "ngx_lua_version");
  constexpr luaL_Reg functions[] = {
      {"prefix", prefix}, {"nginx_configure", nginx_configure}, {nullptr, nullptr}};
  set_functions(L, functions);
  lua_setfield(L, -2, "config");
}

}  // namespace moonphase::ngx
