// Values from Lua to JavaScript. Tables are copied, unless they have methods; functions go by
// reference.
#include <cmath>
#include <cstring>

#include "bind/codec.h"
#include "bind/luavm.h"
#include "bind/napi_util.h"
#include "bind/utf8.h"

namespace moonphase::bind {

namespace {

constexpr int kLuaTCdata = 10;  // LUA_TCDATA, which lua.h does not show
constexpr int kMaxDepth = 100;
constexpr const char* kTooDeep = "is nested in more than 100 levels";
constexpr const char* kCycle = "contains itself";

class Reader {
 public:
  Reader(VmHost* host, lua_State* L, std::string* error, bool live)
      : host_(host), env_(host->napi()), L_(L), error_(error), live_(live) {}
  napi_value read(int index);

 private:
  napi_value table(int index);
  napi_value list(int index, size_t n);
  napi_value string(const char* s, size_t n);
  napi_value key(int index);
  napi_value cdata(int index);
  napi_value refuse(const char* what, const char* why) {
    error_->assign(what).append(" ").append(why);
    return nullptr;
  }
  bool is_list(int index, size_t n);
  // An own property, __proto__ too.
  bool define(napi_value object, napi_value name, napi_value value) {
    const napi_property_descriptor p = {
        nullptr, name, nullptr, nullptr, nullptr, value, napi_default_jsproperty, nullptr};
    return napi_define_properties(env_, object, 1, &p) == napi_ok;
  }

  VmHost* host_;
  napi_env env_;
  lua_State* L_;
  std::string* error_;
  bool live_;
  const void* path_[kMaxDepth];
  int depth_ = 0;
};

napi_value Reader::read(int index) {
  napi_value v = nullptr;
  switch (lua_type(L_, index)) {
    case LUA_TNONE:
    case LUA_TNIL:
      return js_undefined(env_);
    case LUA_TBOOLEAN:
      return js_boolean(env_, lua_toboolean(L_, index) != 0);
    case LUA_TNUMBER:
      return js_number(env_, lua_tonumber(L_, index));
    case LUA_TSTRING: {
      size_t n = 0;
      const char* s = lua_tolstring(L_, index, &n);
      return string(s, n);
    }
    case LUA_TTABLE:
      return live_ && depth_ == 0 ? wrap_table(host_, L_, index) : table(index);
    case LUA_TFUNCTION:
      if (JsRef* ref = host_function(L_, index)) {
        napi_get_reference_value(env_, ref->ref, &v);
        return v;
      }
      return wrap_function(host_, L_, index, Results::kFirst);
    case LUA_TLIGHTUSERDATA:
      if (lua_touserdata(L_, index) == nullptr) {
        napi_get_null(env_, &v);
        return v;
      }
      return refuse("a light userdata", "cannot be passed to JavaScript");
    case kLuaTCdata:
      return cdata(index);
    case LUA_TTHREAD:
      return refuse("a coroutine", "cannot be passed to JavaScript");
    case LUA_TUSERDATA:
      if (JsRef* ref = js_ref(L_, index)) {
        napi_get_reference_value(env_, ref->ref, &v);
        return v;
      }
      return refuse("a userdata", "cannot be passed to JavaScript");
    default:
      return refuse("a userdata", "cannot be passed to JavaScript");
  }
}

napi_value Reader::string(const char* s, size_t n) {
  napi_value v = nullptr;
  if (host_->strings == Strings::kLatin1 || (host_->strings == Strings::kAuto && is_ascii(s, n))) {
    napi_create_string_latin1(env_, s, n, &v);
  } else if (host_->strings == Strings::kAuto && is_utf8(s, n)) {
    napi_create_string_utf8(env_, s, n, &v);
  } else {
    napi_create_buffer_copy(env_, n, s, nullptr, &v);
  }
  return v ? v : refuse("a string", "is too long for JavaScript");
}

napi_value Reader::key(int index) {
  napi_value v = nullptr;
  size_t n = 0;
  if (lua_type(L_, index) == LUA_TNUMBER) {
    lua_pushvalue(L_, index);  // lua_tolstring changes the value in place
    const char* s = lua_tolstring(L_, -1, &n);
    napi_create_string_latin1(env_, s, n, &v);
    lua_pop(L_, 1);
    return v;
  }
  if (lua_type(L_, index) != LUA_TSTRING)
    return refuse("a table key that is neither string nor number",
                  "cannot be passed to JavaScript");
  const char* s = lua_tolstring(L_, index, &n);
  if (is_ascii(s, n) || !is_utf8(s, n)) {
    napi_create_string_latin1(env_, s, n, &v);
  } else {
    napi_create_string_utf8(env_, s, n, &v);
  }
  return v;
}

napi_value Reader::cdata(int index) {
  lua_pushvalue(L_, index);
  int at = lua_gettop(L_);
  lua_rawgeti(L_, LUA_REGISTRYINDEX, host_->is_int64_ref);
  lua_pushvalue(L_, at);
  lua_call(L_, 1, 1);
  int kind = static_cast<int>(lua_tointeger(L_, -1));
  napi_value v = nullptr;
  if (kind == 1 || kind == 2) {
    uint64_t bits = 0;
    std::memcpy(&bits, lua_topointer(L_, at), sizeof bits);
    if (kind == 1) {
      napi_create_bigint_int64(env_, static_cast<int64_t>(bits), &v);
    } else {
      napi_create_bigint_uint64(env_, bits, &v);
    }
  } else if (kind == 3) {
    napi_get_null(env_, &v);
  } else {
    refuse("a cdata that is no 64-bit integer", "cannot be passed to JavaScript");
  }
  lua_settop(L_, at - 1);
  return v;
}

// No other keys than 1 … n.
bool Reader::is_list(int index, size_t n) {
  lua_pushnil(L_);
  while (lua_next(L_, index) != 0) {
    lua_pop(L_, 1);
    lua_Number key = lua_type(L_, -1) == LUA_TNUMBER ? lua_tonumber(L_, -1) : 0;
    if (key < 1 || key > static_cast<lua_Number>(n) || key != std::floor(key)) {
      lua_pop(L_, 1);
      return false;
    }
  }
  return true;
}

napi_value Reader::list(int index, size_t n) {
  napi_value array = nullptr;
  napi_create_array_with_length(env_, n, &array);
  for (size_t i = 1; i <= n; ++i) {
    napi_handle_scope scope;
    napi_open_handle_scope(env_, &scope);
    lua_rawgeti(L_, index, static_cast<int>(i));
    napi_value item = read(lua_gettop(L_));
    lua_pop(L_, 1);
    bool ok = item && napi_set_element(env_, array, static_cast<uint32_t>(i - 1), item) == napi_ok;
    napi_close_handle_scope(env_, scope);
    if (!ok) return nullptr;
  }
  return array;
}

napi_value Reader::table(int index) {
  if (depth_ == kMaxDepth) return refuse("the table", kTooDeep);
  const void* self = lua_topointer(L_, index);
  for (int i = 0; i < depth_; ++i) {
    if (path_[i] == self) return refuse("the table", kCycle);
  }
  if (!lua_checkstack(L_, 6)) return refuse("the table", "does not fit onto Lua's stack");
  if (lua_getmetatable(L_, index)) {
    lua_rawgeti(L_, LUA_REGISTRYINDEX, host_->js_error_ref);
    bool is_error = lua_rawequal(L_, -1, -2) != 0;
    lua_pop(L_, 1);
    lua_pushliteral(L_, "__index");
    lua_rawget(L_, -2);
    bool is_object = !lua_isnil(L_, -1);
    lua_pop(L_, 2);
    if (is_error) return to_exception(host_, L_, index, std::string());
    // It has methods: a copy would lose them.
    if (is_object) return wrap_table(host_, L_, index);
  }
  if (depth_ == 0) {
    if (napi_value whole = codec_read(host_, L_, index)) return whole;
  }
  path_[depth_++] = self;
  size_t n = lua_objlen(L_, index);
  napi_value result = nullptr;
  if (n > 0 && is_list(index, n)) {
    result = list(index, n);
    --depth_;
    return result;
  }
  napi_create_object(env_, &result);
  lua_pushnil(L_);
  while (lua_next(L_, index) != 0) {
    napi_handle_scope scope;
    napi_open_handle_scope(env_, &scope);
    int top = lua_gettop(L_);
    napi_value name = key(top - 1);
    napi_value item = name ? read(top) : nullptr;
    bool ok = item && define(result, name, item);
    napi_close_handle_scope(env_, scope);
    lua_pop(L_, 1);
    if (!ok) {
      lua_pop(L_, 1);
      result = nullptr;
      break;
    }
  }
  --depth_;
  return result;
}

int absolute(lua_State* L, int index) {
  return index > 0 || index <= LUA_REGISTRYINDEX ? index : lua_gettop(L) + index + 1;
}

}  // namespace

napi_value to_js(VmHost* host, lua_State* L, int index, std::string* error) {
  error->clear();
  return Reader(host, L, error, false).read(absolute(L, index));
}

napi_value to_js_live(VmHost* host, lua_State* L, int index, std::string* error) {
  error->clear();
  return Reader(host, L, error, true).read(absolute(L, index));
}

}  // namespace moonphase::bind
