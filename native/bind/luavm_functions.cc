// Functions by reference: a Lua function is a JavaScript function, a JavaScript function is a Lua function. Passed back,
// each is what it was. Tables that stay Lua's are proxies that lib/luavm.ts makes.
#include "bind/js_call.h"
#include "bind/luavm.h"
#include "bind/napi_util.h"
#include "bind/promise_wait.h"

namespace moonphase::bind {

namespace {

// Marks our functions and proxies among all objects that JavaScript may pass.
constexpr napi_type_tag kLuaRefTag = {0x6d6f6f6e70686173, 0x652d6c75612d7265};
constexpr const char* kJsRefMeta = "moonphase.js";

void free_lua_ref(napi_env, void* data, void*) {
  LuaRef* ref = static_cast<LuaRef*>(data);
  if (!ref->host->closed()) luaL_unref(ref->host->L(), LUA_REGISTRYINDEX, ref->ref);
  ref->host->release();
  delete ref;
}

LuaRef* make_ref(VmHost* host, lua_State* L, int index, bool all) {
  lua_pushvalue(L, index);
  host->retain();
  return new LuaRef{host, luaL_ref(L, LUA_REGISTRYINDEX), all};
}

napi_value tag(VmHost* host, napi_value object, LuaRef* ref) {
  napi_env env = host->napi();
  if (object && napi_wrap(env, object, ref, free_lua_ref, nullptr, nullptr) == napi_ok) {
    napi_type_tag_object(env, object, &kLuaRefTag);
    return object;
  }
  free_lua_ref(env, ref, nullptr);
  return nullptr;
}

// A Lua function, called by JavaScript.
napi_value lua_function(napi_env env, napi_callback_info info) {
  constexpr size_t kFew = 8;
  napi_value few[kFew], self;
  size_t argc = kFew;
  void* data = nullptr;
  napi_get_cb_info(env, info, &argc, few, &self, &data);
  LuaRef* ref = static_cast<LuaRef*>(data);
  VmHost* host = ref->host;
  if (host->closed()) {
    napi_throw_error(env, "ERR_MOONPHASE_CLOSED", "the Lua VM of this function is closed");
    return nullptr;
  }
  std::unique_ptr<napi_value[]> many;
  napi_value* argv = few;
  if (argc > kFew) {
    many.reset(new napi_value[argc]);
    argv = many.get();
    napi_get_cb_info(env, info, &argc, argv, &self, &data);
  }
  FromJs from(host->env());
  lua_State* L = host->L();
  int top = lua_gettop(L);
  if (!lua_checkstack(L, static_cast<int>(argc) + 8)) {
    napi_throw_error(env, "ERR_MOONPHASE_VALUE", "too many arguments for Lua");
    return nullptr;
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, ref->ref);
  std::string error;
  for (size_t i = 0; i < argc; ++i) {
    if (push_js(host, L, argv[i], &error)) continue;
    lua_settop(L, top);
    napi_throw_type_error(env, "ERR_MOONPHASE_VALUE", ("argument " + std::to_string(i + 1) + ": " + error).c_str());
    return nullptr;
  }
  return call_lua(host, static_cast<int>(argc), ref->all);
}

// A JavaScript function, called by Lua. What it leaves to do is done without C++ objects on the stack.
enum class Outcome { kReturn, kError, kWait };

Outcome call_host(lua_State* L, JsRef* ref, PromiseWait** wait) {
  VmHost* host = ref->host;
  if (host->closed() || host->env()->closing()) {
    lua_pushliteral(L, "JavaScript does not run any more");
    return Outcome::kError;
  }
  IntoJs js(host->env());
  napi_env env = host->napi();
  constexpr int kFew = 8;
  napi_value few[kFew];
  std::unique_ptr<napi_value[]> many;
  int argc = lua_gettop(L);
  napi_value* argv = few;
  if (argc > kFew) {
    many.reset(new napi_value[static_cast<size_t>(argc)]);
    argv = many.get();
  }
  std::string error;
  for (int i = 0; i < argc; ++i) {
    argv[i] = to_js(host, L, i + 1, &error);
    if (argv[i]) continue;
    lua_pushfstring(L, "bad argument #%d to a JavaScript function: %s", i + 1, error.c_str());
    return Outcome::kError;
  }
  napi_value fn = nullptr, result = nullptr;
  napi_get_reference_value(env, ref->ref, &fn);
  if (!call_js(host->env(), call_context(L), nullptr, fn, static_cast<size_t>(argc), argv, &result)) {
    if (result) {
      push_exception(host, L, result);
    } else {
      lua_pushliteral(L, "JavaScript does not run any more");
    }
    return Outcome::kError;
  }
  bool is_promise = false;
  if (js_type(env, result) == napi_object && napi_is_promise(env, result, &is_promise) == napi_ok && is_promise) {
    *wait = PromiseWait::start(host, result);
    return Outcome::kWait;
  }
  lua_settop(L, 0);
  if (push_js(host, L, result, &error)) return Outcome::kReturn;
  lua_pushfstring(L, "the result of a JavaScript function: %s", error.c_str());
  return Outcome::kError;
}

int host_call(lua_State* L) {
  JsRef* ref = static_cast<JsRef*>(lua_touserdata(L, lua_upvalueindex(1)));
  PromiseWait* wait = nullptr;
  switch (call_host(L, ref, &wait)) {
    case Outcome::kReturn:
      return 1;
    case Outcome::kWait:
      return PromiseWait::yield(L, wait);
    case Outcome::kError:
      break;
  }
  // A text gets its place in Lua, as luaL_error would give it.
  if (lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

int js_ref_gc(lua_State* L) {
  JsRef* ref = static_cast<JsRef*>(lua_touserdata(L, 1));
  if (ref->ref) napi_delete_reference(ref->host->napi(), ref->ref);
  ref->ref = nullptr;
  return 0;
}

}  // namespace

void push_function(VmHost* host, lua_State* L, napi_value fn) {
  if (LuaRef* ref = unwrap(host, fn)) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref->ref);
    return;
  }
  JsRef* ref = static_cast<JsRef*>(lua_newuserdata(L, sizeof(JsRef)));
  ref->host = host;
  ref->ref = nullptr;
  if (luaL_newmetatable(L, kJsRefMeta)) {
    lua_pushcfunction(L, js_ref_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  napi_create_reference(host->napi(), fn, 1, &ref->ref);
  lua_pushcclosure(L, host_call, 1);
}

JsRef* host_function(lua_State* L, int index) {
  if (lua_tocfunction(L, index) != host_call || !lua_getupvalue(L, index, 1)) return nullptr;
  JsRef* ref = static_cast<JsRef*>(lua_touserdata(L, -1));
  lua_pop(L, 1);
  return ref;
}

napi_value wrap_function(VmHost* host, lua_State* L, int index, bool all) {
  LuaRef* ref = make_ref(host, L, index, all);
  napi_value fn = nullptr;
  napi_create_function(host->napi(), "lua", NAPI_AUTO_LENGTH, lua_function, ref, &fn);
  return tag(host, fn, ref);
}

napi_value wrap_table(VmHost* host, lua_State* L, int index) {
  LuaRef* ref = make_ref(host, L, index, false);
  napi_env env = host->napi();
  napi_value handle = nullptr, make = nullptr, proxy = nullptr, args[2];
  napi_create_object(env, &handle);
  if (!tag(host, handle, ref)) return nullptr;
  napi_get_reference_value(env, host->env()->make_proxy, &make);
  napi_get_reference_value(env, host->self, &args[0]);
  args[1] = handle;
  if (!call_js(host->env(), nullptr, nullptr, make, 2, args, &proxy)) return nullptr;
  // The proxy, too, is known when it comes back.
  lua_rawgeti(L, LUA_REGISTRYINDEX, ref->ref);
  LuaRef* own = make_ref(host, L, lua_gettop(L), false);
  lua_pop(L, 1);
  return tag(host, proxy, own);
}

LuaRef* unwrap(VmHost* host, napi_value v) {
  bool ours = false;
  if (napi_check_object_type_tag(host->napi(), v, &kLuaRefTag, &ours) != napi_ok || !ours) return nullptr;
  void* data = nullptr;
  if (napi_unwrap(host->napi(), v, &data) != napi_ok) return nullptr;
  LuaRef* ref = static_cast<LuaRef*>(data);
  // Of another VM: it is a function or object like any other.
  return ref && ref->host == host && !host->closed() ? ref : nullptr;
}

}  // namespace moonphase::bind
