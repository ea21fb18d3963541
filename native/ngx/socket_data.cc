#include "ngx/socket_data.h"

#include <charconv>
#include <cmath>
#include <memory>
#include <utility>

namespace moonphase::ngx {

namespace {

// The buffer of the last one, with its capacity.
thread_local std::unique_ptr<std::string> t_last;
constexpr size_t kMostKept = 16384;

// As Lua writes numbers (%.14g) where that is no more than the digits. False: it is not.
bool append_integer(lua_Number n, std::string* to) {
  constexpr lua_Number kMost = 1e14;
  if (!(n > -kMost && n < kMost) || std::floor(n) != n || (n == 0 && std::signbit(n))) return false;
  char digits[24];
  const char* end = std::to_chars(digits, digits + sizeof digits, static_cast<int64_t>(n)).ptr;
  to->append(digits, static_cast<size_t>(end - digits));
  return true;
}

}  // namespace

void SendData::release() {
  std::unique_ptr<std::string> done(std::exchange(buffer_, nullptr));
  if (!done || done->capacity() > kMostKept) return;
  done->clear();
  t_last = std::move(done);
}

const char* SendData::read(lua_State* L, int index) {
  size_t n;
  switch (lua_type(L, index)) {
    case LUA_TSTRING:
    case LUA_TNUMBER: {
      const char* s = lua_tolstring(L, index, &n);  // a number's text replaces it on the stack
      view_ = {s, n};
      return nullptr;
    }
    case LUA_TNIL:
      view_ = "nil";
      return nullptr;
    case LUA_TBOOLEAN:
      view_ = lua_toboolean(L, index) ? "true" : "false";
      return nullptr;
    case LUA_TTABLE: {
      if (!lua_checkstack(L, 64)) return "too deeply nested";
      buffer_ = t_last ? t_last.release() : new std::string;
      const char* error = nullptr;
      if (append(L, index, &error)) return nullptr;
      release();
      return error;
    }
    default:
      return lua_pushfstring(L, "string, number, boolean, nil, or array table expected, got %s",
                             luaL_typename(L, index));
  }
}

// Only raw access: nothing here runs Lua code or raises.
bool SendData::append(lua_State* L, int index, const char** error) {
  if (index < 0) index = lua_gettop(L) + index + 1;
  if (!lua_checkstack(L, 8)) return *error = "too deeply nested", false;
  lua_Integer max = 0;
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    const lua_Number key = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
    if (key < 1 || std::floor(key) != key) {
      lua_pop(L, 2);
      return *error = "non-array table found", false;
    }
    if (key > max) max = static_cast<lua_Integer>(key);
    lua_pop(L, 1);
  }
  for (lua_Integer i = 1; i <= max; ++i) {
    lua_rawgeti(L, index, static_cast<int>(i));
    size_t n;
    const char* s;
    switch (lua_type(L, -1)) {
      case LUA_TNUMBER:
        if (append_integer(lua_tonumber(L, -1), buffer_)) break;
        [[fallthrough]];
      case LUA_TSTRING:
        s = lua_tolstring(L, -1, &n);
        buffer_->append(s, n);
        break;
      case LUA_TTABLE:
        if (!append(L, -1, error)) {
          lua_pop(L, 1);
          return false;
        }
        break;
      default:
        *error = lua_pushfstring(L, "bad data type %s found", luaL_typename(L, -1));
        lua_remove(L, -2);
        return false;
    }
    lua_pop(L, 1);
  }
  return true;
}

}  // namespace moonphase::ngx
