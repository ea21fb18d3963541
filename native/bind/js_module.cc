// JavaScript's objects and functions are userdata for Lua: what is read of them is what they hold
// at that time. lua/moonphase/js.lua is the module, lib/js.ts the part of it that is JavaScript.
#include "bind/js_module.h"

#include <memory>
#include <string>
#include <vector>

#include "bind/js_call.h"
#include "bind/luavm.h"
#include "bind/napi_util.h"
#include "bind/promise_wait.h"
#include "engine/limits.h"
#include "lua/call.h"
#include "lua/embedded.h"

namespace moonphase::bind {

namespace {

// Where a value goes that Lua gets of this module: objects and functions stay JavaScript's.
bool push_value(VmHost* host, lua_State* L, napi_value v, std::string* error) {
  napi_env env = host->napi();
  napi_valuetype type = js_type(env, v);
  if ((type == napi_object || type == napi_function) && !unwrap(host, v)) {
    bool bytes = false;
    if (type == napi_object && ((napi_is_buffer(env, v, &bytes) == napi_ok && bytes) ||
                                (napi_is_arraybuffer(env, v, &bytes) == napi_ok && bytes)))
      return push_js(host, L, v, error);
    push_js_object(host, L, v);
    return true;
  }
  return push_js(host, L, v, error);
}

// (helper's name, arguments…): true and what the helper in lib/js.ts returns, or false and an
// error. Upvalue 2 says what becomes of the result.
enum How { kCall, kWait, kCopy };
int call_helper(lua_State* L) {
  auto* host = static_cast<VmHost*>(lua_touserdata(L, lua_upvalueindex(1)));
  const int how = static_cast<int>(lua_tointeger(L, lua_upvalueindex(2)));
  auto fail = [L](const std::string& text) {
    lua_settop(L, 0);
    lua_pushboolean(L, 0);
    lua_pushlstring(L, text.data(), text.size());
    return 2;
  };
  if (host->closed() || host->env()->closing()) return fail(kGone);
  PromiseWait* wait = nullptr;
  {
    IntoJs js(host->env());
    engine::Limits::Pause pause(host->generation()->limits.get());
    napi_env env = host->napi();
    std::vector<napi_value> args;
    std::string error;
    const int n = lua_gettop(L);
    for (int i = 2; i <= n; ++i) {
      napi_value v = to_js(host, L, i, &error);
      if (!v) return fail("bad argument #" + std::to_string(i - 1) + ": " + error);
      args.push_back(v);
    }
    napi_value helpers = nullptr, result = nullptr;
    napi_get_reference_value(env, host->env()->js_helpers, &helpers);
    napi_value fn = js_get(env, helpers, lua_tostring(L, 1));
    if (!call_js(host->env(), call_context(L), helpers, fn, args.size(), args.data(), &result)) {
      if (!result) return fail(kGone);
      lua_settop(L, 0);
      lua_pushboolean(L, 0);
      push_exception(host, L, result);
      return 2;
    }
    if (how == kWait) {
      wait = PromiseWait::start(host, result);
      if (!wait) return fail(kGone);
      wait->keep_objects();
    } else {
      lua_settop(L, 0);
      lua_pushboolean(L, 1);
      if (how == kCopy ? !push_js(host, L, result, &error) : !push_value(host, L, result, &error))
        return fail(error);
      return 2;
    }
  }
  return PromiseWait::yield(L, wait);
}

// The module's loader.
int load_js(lua_State* L) {
  std::string error;
  VmHost* host = VmHost::of(L, &error);
  if (!host) {
    lua_pushlstring(L, error.data(), error.size());
    error = std::string();
    return lua_error(L);
  }
  const lua::EmbeddedFile* file = lua::find_embedded("moonphase/js.lua");
  if (lua::load_embedded(L, *file) != 0) return lua_error(L);
  for (int how : {kCall, kWait, kCopy}) {
    lua_pushlightuserdata(L, host);
    lua_pushinteger(L, how);
    lua_pushcclosure(L, call_helper, 2);
  }
  push_object_meta(L);
  lua_call(L, 4, 1);
  return 1;
}

}  // namespace

bool push_js_value(VmHost* host, lua_State* L, napi_value v, std::string* error) {
  return push_value(host, L, v, error);
}

void open_js(lua_State* L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "_PRELOAD");
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_remove(L, -2);
  }
  lua_pushcfunction(L, load_js);
  lua_setfield(L, -2, "js");
  lua_pop(L, 1);
}

}  // namespace moonphase::bind
