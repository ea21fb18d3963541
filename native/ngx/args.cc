#include "ngx/args.h"

#include "base/escape.h"
#include "ngx/ffi.h"
#include "ngx/log.h"

namespace moonphase::ngx {

namespace {

// Appends one pair for the value on the top of the stack; false is left out.
void append_pair(lua_State* L, Str key, std::string* out, bool* first) {
  bool is_flag = lua_isboolean(L, -1);
  if (is_flag && !lua_toboolean(L, -1)) return;
  size_t n = 0;
  const char* value = is_flag ? nullptr : lua_tolstring(L, -1, &n);
  if (!is_flag && !value) {
    luaL_error(L, "attempt to use %s as query arg value", luaL_typename(L, -1));
  }
  if (!*first) out->push_back('&');
  *first = false;
  append_percent(out, key, Percent::kComponent);
  if (is_flag) return;
  out->push_back('=');
  append_percent(out, {value, n}, Percent::kComponent);
}

}  // namespace

void append_args(lua_State* L, int index, std::string* out) {
  if (index < 0) index = lua_gettop(L) + index + 1;
  bool first = true;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    if (lua_type(L, -2) != LUA_TSTRING) {
      luaL_error(L, "attempt to use a non-string key in the \"args\" option table");
    }
    size_t n;
    const char* p = lua_tolstring(L, -2, &n);
    Str key{p, n};
    if (lua_istable(L, -1)) {
      lua_pushnil(L);
      while (lua_next(L, -2)) {
        append_pair(L, key, out, &first);
        lua_pop(L, 1);
      }
    } else {
      append_pair(L, key, out, &first);
    }
    lua_pop(L, 1);
  }
}

int push_args(lua_State* L, Str text, int max) {
  lua_createtable(L, 0, 4);
  int table = lua_gettop(L);
  std::string scratch(text);
  char* p = scratch.data();
  char* end = p + scratch.size();
  int count = 0;
  while (p < end) {
    char* stop = static_cast<char*>(std::memchr(p, '&', end - p));
    bool last = !stop;
    if (last) stop = end;
    char* equals = static_cast<char*>(std::memchr(p, '=', stop - p));
    char* key_end = equals ? equals : stop;
    size_t key_size = percent_decode(p, str(p, key_end - p)) - p;
    if (key_size) {
      lua_pushlstring(L, p, key_size);
      if (equals) {
        char* value = equals + 1;
        lua_pushlstring(L, value, percent_decode(value, str(value, stop - value)) - value);
      } else {
        lua_pushboolean(L, 1);
      }
      add_multi_value(L, table);
    }
    // Empty pairs count, as they do in lua-nginx-module; the last one needs no room behind it.
    if (!last && max > 0 && ++count == max) {
      const Log& log = log_for(nullptr);
      if (log.enabled(kLogDebug)) {
        log_write(log, nullptr, kLogDebug, 0, "lua hit query args limit %d", max);
      }
      lua_pushliteral(L, "truncated");
      return 2;
    }
    p = stop + 1;
  }
  return 1;
}

}  // namespace moonphase::ngx
