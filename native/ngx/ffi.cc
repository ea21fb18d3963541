#include "ngx/ffi.h"

#include <cstdarg>
#include <cstdio>

namespace moonphase::ngx {

int ffi_error(unsigned char* buf, size_t* size, const char* fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  char text[kMaxErrorStr];
  int n = vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  size_t len = n < 0 ? 0 : static_cast<size_t>(n);
  if (len > *size) len = *size;
  if (len >= sizeof text) len = sizeof text - 1;
  std::memcpy(buf, text, len);
  *size = len;
  return kError;
}

Request* client_request(lua_State* L, const char* missing) {
  Request* r = engine::request_of(L);
  if (!r) luaL_error(L, "%s", missing);
  if (is_fake(r)) luaL_error(L, "API disabled in the current context");
  return r;
}

void push_subtable(lua_State* L, const char* name) {
  lua_getfield(L, -1, name);
  if (lua_istable(L, -1)) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, name);
}

void set_functions(lua_State* L, const luaL_Reg* functions) {
  for (; functions->name; ++functions) {
    lua_pushcfunction(L, functions->func);
    lua_setfield(L, -2, functions->name);
  }
}

void add_multi_value(lua_State* L, int index) {
  if (index < 0) index = lua_gettop(L) + index + 1;
  lua_pushvalue(L, -2);
  lua_rawget(L, index);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_rawset(L, index);
    return;
  }
  if (!lua_istable(L, -1)) {
    lua_createtable(L, 4, 0);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 1);
    // key value array: the array replaces the single value
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -2);
    lua_rawset(L, index);
  }
  lua_insert(L, -2);
  lua_rawseti(L, -2, static_cast<int>(lua_objlen(L, -2)) + 1);
  lua_pop(L, 2);
}

}  // namespace moonphase::ngx
