// Values from JavaScript to Lua. Objects are copied; functions go by reference.
#include <cmath>
#include <cstring>

#include "bind/codec.h"
#include "bind/luavm.h"
#include "bind/napi_util.h"

namespace moonphase::bind {

namespace {

constexpr int kMaxDepth = 100;
constexpr const char* kTooDeep = "is nested in more than 100 levels";
constexpr const char* kCycle = "contains itself";

class Pusher {
 public:
  Pusher(VmHost* host, lua_State* L, std::string* error)
      : host_(host), env_(host->napi()), L_(L), error_(error) {}
  bool push(napi_value v);

 private:
  bool object(napi_value v);
  bool array(napi_value v);
  bool plain(napi_value v);
  bool entries(napi_value map);
  bool bytes(napi_value v, bool* was);
  bool string(napi_value v);
  bool bigint(napi_value v);
  bool refuse(const char* what, const char* why) {
    error_->assign(what).append(" ").append(why);
    return false;
  }
  bool is_plain(napi_value v);
  bool instance_of(napi_value v, const char* name);
  // What holds nothing in properties; null: something else.
  const char* opaque(napi_value v) {
    for (const char* name :
         {"Set", "RegExp", "WeakMap", "WeakSet", "WeakRef", "SharedArrayBuffer", "URL"})
      if (instance_of(v, name)) return name;
    return nullptr;
  }

  VmHost* host_;
  napi_env env_;
  lua_State* L_;
  std::string* error_;
  napi_value path_[kMaxDepth];
  int depth_ = 0;
};

bool Pusher::push(napi_value v) {
  if (!lua_checkstack(L_, 4)) return refuse("a value", "does not fit onto Lua's stack");
  switch (js_type(env_, v)) {
    case napi_undefined:
      lua_pushnil(L_);
      return true;
    case napi_null:
      lua_pushlightuserdata(L_, nullptr);  // ngx.null, cjson.null
      return true;
    case napi_boolean: {
      bool b = false;
      napi_get_value_bool(env_, v, &b);
      lua_pushboolean(L_, b);
      return true;
    }
    case napi_number: {
      double n = 0;
      napi_get_value_double(env_, v, &n);
      lua_pushnumber(L_, n);
      return true;
    }
    case napi_string:
      return string(v);
    case napi_bigint:
      return bigint(v);
    case napi_function:
      push_function(host_, L_, v);
      return true;
    case napi_object:
      return object(v);
    case napi_symbol:
      return refuse("a symbol", "cannot be passed to Lua");
    default:
      return refuse("an external value", "cannot be passed to Lua");
  }
}

bool Pusher::string(napi_value v) {
  char small[1024];
  size_t n = 0;
  if (napi_get_value_string_utf8(env_, v, small, sizeof small, &n) != napi_ok)
    return refuse("a string", "is unreadable");
  // A cut copy ends short of the buffer by less than one character.
  if (n + 4 < sizeof small) {
    lua_pushlstring(L_, small, n);
    return true;
  }
  std::string s = text_of(env_, v);
  lua_pushlstring(L_, s.data(), s.size());
  return true;
}

bool Pusher::bigint(napi_value v) {
  int64_t i = 0;
  bool lossless = false, is_signed = true;
  napi_get_value_bigint_int64(env_, v, &i, &lossless);
  if (!lossless) {
    uint64_t u = 0;
    napi_get_value_bigint_uint64(env_, v, &u, &lossless);
    if (!lossless) return refuse("a bigint", "of more than 64 bits cannot be passed to Lua");
    std::memcpy(&i, &u, sizeof i);
    is_signed = false;
  }
  lua_rawgeti(L_, LUA_REGISTRYINDEX, host_->int64_ref);
  lua_pushlightuserdata(L_, &i);
  lua_pushboolean(L_, is_signed);
  lua_call(L_, 2, 1);
  return true;
}

bool Pusher::bytes(napi_value v, bool* was) {
  void* data = nullptr;
  size_t n = 0;
  *was = true;
  bool is = false;
  if (napi_is_buffer(env_, v, &is) == napi_ok && is) {
    napi_get_buffer_info(env_, v, &data, &n);
  } else if (napi_is_arraybuffer(env_, v, &is) == napi_ok && is) {
    napi_get_arraybuffer_info(env_, v, &data, &n);
  } else {
    *was = false;
    return true;
  }
  lua_pushlstring(L_, static_cast<const char*>(data), n);
  return true;
}

bool Pusher::instance_of(napi_value v, const char* name) {
  napi_value global = nullptr;
  bool is = false;
  napi_get_global(env_, &global);
  return napi_instanceof(env_, v, js_get(env_, global, name), &is) == napi_ok && is;
}

// An object literal: its prototype is Object's (of this realm) or none.
bool Pusher::is_plain(napi_value v) {
  napi_value proto = nullptr, outer = nullptr;
  if (napi_get_prototype(env_, v, &proto) != napi_ok) return false;
  if (js_type(env_, proto) == napi_null) return true;
  return napi_get_prototype(env_, proto, &outer) == napi_ok && js_type(env_, outer) == napi_null;
}

bool Pusher::object(napi_value v) {
  if (depth_ == kMaxDepth) return refuse("the value", kTooDeep);
  for (int i = 0; i < depth_; ++i) {
    bool same = false;
    if (napi_strict_equals(env_, path_[i], v, &same) == napi_ok && same)
      return refuse("the value", kCycle);
  }
  if (depth_ == 0 && codec_push(host_, L_, v)) return true;
  bool is = false;
  path_[depth_++] = v;
  bool ok = true;
  if (napi_is_array(env_, v, &is) == napi_ok && is) {
    ok = array(v);
  } else if (LuaRef* ref = unwrap(host_, v)) {
    lua_rawgeti(L_, LUA_REGISTRYINDEX, ref->ref);
  } else if (is_plain(v)) {
    ok = plain(v);
  } else if (bytes(v, &is) && is) {
    // pushed
  } else if (napi_is_promise(env_, v, &is) == napi_ok && is) {
    ok = refuse(
        "a promise",
        "cannot be passed to Lua: await it first, or return it from the function that Lua calls");
  } else if (napi_is_error(env_, v, &is) == napi_ok && is) {
    push_exception(host_, L_, v);
  } else if (napi_is_date(env_, v, &is) == napi_ok && is) {
    ok = refuse("a Date", "cannot be passed to Lua: pass its time in milliseconds or its text");
  } else if (instance_of(v, "Map")) {
    ok = entries(v);
  } else if (const char* name = opaque(v)) {
    ok = refuse((std::string("a ") + name).c_str(),
                "cannot be passed to Lua: a copy would be an empty table");
  } else {
    ok = plain(v);
  }
  --depth_;
  return ok;
}

bool Pusher::array(napi_value v) {
  uint32_t n = 0;
  napi_get_array_length(env_, v, &n);
  lua_createtable(L_, static_cast<int>(n < 1u << 26 ? n : 0), 0);
  for (uint32_t i = 0; i < n; ++i) {
    napi_handle_scope scope;
    napi_open_handle_scope(env_, &scope);
    napi_value item = nullptr;
    bool ok = napi_get_element(env_, v, i, &item) == napi_ok && push(item);
    napi_close_handle_scope(env_, scope);
    if (!ok) {
      lua_pop(L_, 1);
      return error_->empty() ? refuse("an array's element", "could not be read") : false;
    }
    lua_rawseti(L_, -2, static_cast<int>(i + 1));
  }
  return true;
}

bool Pusher::plain(napi_value v) {
  napi_value names = nullptr;
  uint32_t n = 0;
  if (napi_get_all_property_names(
          env_, v, napi_key_own_only,
          static_cast<napi_key_filter>(napi_key_enumerable | napi_key_skip_symbols),
          napi_key_numbers_to_strings, &names) != napi_ok) {
    return refuse("an object", "does not tell its properties");
  }
  napi_get_array_length(env_, names, &n);
  lua_createtable(L_, 0, static_cast<int>(n));
  for (uint32_t i = 0; i < n; ++i) {
    napi_handle_scope scope;
    napi_open_handle_scope(env_, &scope);
    napi_value key = nullptr, item = nullptr;
    bool ok = napi_get_element(env_, names, i, &key) == napi_ok &&
              napi_get_property(env_, v, key, &item) == napi_ok;
    if (ok && js_type(env_, item) != napi_undefined) {
      ok = string(key);
      if (ok && !push(item)) {
        lua_pop(L_, 1);
        ok = false;
      }
      if (ok) lua_rawset(L_, -3);
    }
    napi_close_handle_scope(env_, scope);
    if (!ok) {
      lua_pop(L_, 1);
      return error_->empty() ? refuse("an object's property", "could not be read") : false;
    }
  }
  return true;
}

bool Pusher::entries(napi_value map) {
  napi_value global = nullptr, list = nullptr;
  uint32_t n = 0;
  napi_get_global(env_, &global);
  napi_value array_class = js_get(env_, global, "Array");
  if (napi_call_function(env_, array_class, js_get(env_, array_class, "from"), 1, &map, &list) !=
      napi_ok) {
    return refuse("a Map", "could not be read");
  }
  napi_get_array_length(env_, list, &n);
  lua_createtable(L_, 0, static_cast<int>(n));
  for (uint32_t i = 0; i < n; ++i) {
    napi_value pair = nullptr, key = nullptr, item = nullptr;
    napi_get_element(env_, list, i, &pair);
    napi_get_element(env_, pair, 0, &key);
    napi_get_element(env_, pair, 1, &item);
    double number = 0;
    napi_valuetype type = js_type(env_, key);
    if (type == napi_undefined || type == napi_null ||
        (type == napi_number && napi_get_value_double(env_, key, &number) == napi_ok &&
         std::isnan(number))) {
      lua_pop(L_, 1);
      return refuse("a Map's key", "must not be undefined, null or NaN");
    }
    if (!push(key)) {
      lua_pop(L_, 1);
      return false;
    }
    if (!push(item)) {
      lua_pop(L_, 2);
      return false;
    }
    lua_rawset(L_, -3);
  }
  return true;
}

}  // namespace

bool push_js(VmHost* host, lua_State* L, napi_value v, std::string* error) {
  error->clear();
  if (Pusher(host, L, error).push(v)) return true;
  // A getter may have thrown.
  napi_value thrown;
  bool pending = false;
  napi_env env = host->napi();
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending) {
    napi_get_and_clear_last_exception(env, &thrown);
    napi_value text = nullptr;
    if (js_type(env, thrown) != napi_symbol && napi_coerce_to_string(env, thrown, &text) == napi_ok)
      error->append(": ").append(text_of(env, text));
    else
      napi_get_and_clear_last_exception(env, &thrown);
  }
  return false;
}

}  // namespace moonphase::bind
