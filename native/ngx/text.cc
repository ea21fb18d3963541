#include "ngx/text.h"

#include <cmath>
#include <cstdint>
#include <cstdio>

namespace moonphase::ngx {

void append_number(std::string* out, double n) {
  char text[32];
  int len = n == static_cast<int32_t>(n)
                ? snprintf(text, sizeof text, "%d", static_cast<int32_t>(n))
                : snprintf(text, sizeof text, "%.14g", n);
  out->append(text, static_cast<size_t>(len));
}

bool append_scalar(lua_State* L, int index, std::string* out) {
  size_t n;
  const char* p;
  switch (lua_type(L, index)) {
    case LUA_TNUMBER:
      append_number(out, lua_tonumber(L, index));
      return true;
    case LUA_TSTRING:
      p = lua_tolstring(L, index, &n);
      out->append(p, n);
      return true;
    case LUA_TNIL:
      out->append("nil");
      return true;
    case LUA_TBOOLEAN:
      out->append(lua_toboolean(L, index) ? "true" : "false");
      return true;
    case LUA_TLIGHTUSERDATA:
      out->append("null");
      return true;
    default:
      return false;
  }
}

void append_array(lua_State* L, int index, int arg, bool strict, std::string* out) {
  if (index < 0) index = lua_gettop(L) + index + 1;
  luaL_checkstack(L, 8, "too deeply nested table");
  int max = 0;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    double key = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
    if (key < 1 || std::floor(key) != key) luaL_argerror(L, arg, "non-array table found");
    if (key > max) max = static_cast<int>(key);
    lua_pop(L, 1);
  }
  for (int i = 1; i <= max; ++i) {
    lua_rawgeti(L, index, i);
    int type = lua_type(L, -1);
    if (type == LUA_TTABLE) {
      append_array(L, -1, arg, strict, out);
    } else if ((strict && type != LUA_TSTRING && type != LUA_TNUMBER) ||
               !append_scalar(L, -1, out)) {
      luaL_argerror(L, arg, lua_pushfstring(L, "bad data type %s found", luaL_typename(L, -1)));
    }
    lua_pop(L, 1);
  }
}

}  // namespace moonphase::ngx
