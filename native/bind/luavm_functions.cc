// Functions by reference: a Lua function is a JavaScript function, a JavaScript function is a Lua
// function. Passed back, each is what it was. Tables that stay Lua's are proxies that lib/luavm.ts
// makes.
#include "bind/js_call.h"
#include "bind/js_error.h"
#include "bind/luavm.h"
#include "bind/napi_util.h"
#include "bind/promise_wait.h"
#include "engine/limits.h"

namespace moonphase::bind {

namespace {

// Marks our functions and proxies among all objects that JavaScript may pass.
constexpr napi_type_tag kLuaRefTag = {0x6d6f6f6e70686173, 0x652d6c75612d7265};
constexpr const char* kJsRefMeta = "moonphase.js";
constexpr const char* kJsObjectMeta = "moonphase.js object";
// Which upvalue of the wrapper function holds the JsRef.
constexpr int kWrapperRef = 3;

void free_lua_ref(napi_env, void* data, void*) {
  LuaRef* ref = static_cast<LuaRef*>(data);
  if (!ref->host->closed()) luaL_unref(ref->host->L(), LUA_REGISTRYINDEX, ref->ref);
  ref->host->unuse();
  delete ref;
}

LuaRef* make_ref(VmHost* host, lua_State* L, int index, Results results) {
  lua_pushvalue(L, index);
  host->use();
  return new LuaRef{host, luaL_ref(L, LUA_REGISTRYINDEX), results};
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
    throw_error(env, "ERR_MOONPHASE_CLOSED", "the Lua VM of this function is closed");
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
  Call* call = begin_call(host);
  if (!call) return nullptr;
  lua_State* L = call_stack(call);
  if (argc > kFew && !lua_checkstack(L, static_cast<int>(argc) + 8)) {
    drop_call(call);
    throw_error(env, "ERR_MOONPHASE_VALUE", "too many arguments for Lua");
    return nullptr;
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, ref->ref);
  for (size_t i = 0; i < argc; ++i) {
    double number;
    if (napi_get_value_double(env, argv[i], &number) == napi_ok) {
      lua_pushnumber(L, number);
      continue;
    }
    std::string error;
    if (push_js(host, L, argv[i], &error)) continue;
    drop_call(call);
    throw_error(env, "ERR_MOONPHASE_VALUE",
                ("argument " + std::to_string(i + 1) + ": " + error).c_str());
    return nullptr;
  }
  return run_call(call, static_cast<int>(argc), ref->results);
}

Outcome fail(lua_State* L, const char* text) {
  lua_settop(L, 1);
  lua_pushboolean(L, 0);
  lua_pushstring(L, text);
  return Outcome::kReturn;
}

}  // namespace

Outcome call_host(lua_State* L, PromiseWait** wait) {
  JsRef* ref = static_cast<JsRef*>(lua_touserdata(L, 1));
  VmHost* host = ref->host;
  constexpr const char* kGone = "JavaScript does not run any more";
  if (!host) return fail(L, "this function of JavaScript was collected: a finalizer calls it");
  if (host->closed() || host->env()->closing()) return fail(L, kGone);
  IntoJs js(host->env());
  engine::Limits::Pause pause(host->generation()->limits.get());
  napi_env env = host->napi();
  constexpr size_t kFew = 8;
  napi_value few[kFew];
  std::unique_ptr<napi_value[]> many;
  size_t argc = static_cast<size_t>(lua_gettop(L)) - 1;
  napi_value* argv = few;
  if (argc > kFew) {
    many.reset(new napi_value[argc]);
    argv = many.get();
  }
  std::string error;
  for (size_t i = 0; i < argc; ++i) {
    argv[i] = to_js(host, L, static_cast<int>(i) + 2, &error);
    if (!argv[i]) {
      return fail(L,
                  ("bad argument #" + std::to_string(i + 1) + " to a JavaScript function: " + error)
                      .c_str());
    }
  }
  napi_value fn = nullptr, result = nullptr;
  napi_get_reference_value(env, ref->ref, &fn);
  if (!call_js(host->env(), call_context(L), nullptr, fn, argc, argv, &result)) {
    if (!result) return fail(L, kGone);
    lua_settop(L, 1);
    lua_pushboolean(L, 0);
    push_exception(host, L, result);
    return Outcome::kReturn;
  }
  bool is_promise = false;
  if (js_type(env, result) == napi_object && napi_is_promise(env, result, &is_promise) == napi_ok &&
      is_promise) {
    *wait = PromiseWait::start(host, result);
    return *wait ? Outcome::kWait : fail(L, kGone);
  }
  lua_settop(L, 1);
  lua_pushboolean(L, 1);
  if (push_js(host, L, result, &error)) return Outcome::kReturn;
  return fail(L, ("the result of a JavaScript function: " + error).c_str());
}

namespace {

int js_ref_gc(lua_State* L) {
  JsRef* ref = js_ref(L, 1);
  if (!ref) return 0;
  VmHost* host = ref->host;
  if (ref->ref) napi_delete_reference(host->napi(), ref->ref);
  ref->host = nullptr;
  host->release();
  return 0;
}

}  // namespace

void push_function(VmHost* host, lua_State* L, napi_value fn) {
  if (LuaRef* ref = unwrap(host, fn)) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref->ref);
    return;
  }
  push_js_ref(host, L, fn);
  lua_rawgeti(L, LUA_REGISTRYINDEX, host->wrapper_ref);
  lua_insert(L, -2);
  lua_call(L, 1, 1);
}

JsRef* host_function(lua_State* L, int index) {
  if (lua_iscfunction(L, index) || !lua_getupvalue(L, index, kWrapperRef)) return nullptr;
  JsRef* ref = js_ref(L, -1);
  lua_pop(L, 1);
  return ref;
}

JsRef* js_ref(lua_State* L, int index) {
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) return nullptr;
  luaL_getmetatable(L, kJsRefMeta);
  bool ours = lua_rawequal(L, -1, -2) != 0;
  if (!ours) {
    luaL_getmetatable(L, kJsObjectMeta);
    ours = lua_rawequal(L, -1, -3) != 0;
    lua_pop(L, 1);
  }
  lua_pop(L, 2);
  if (!ours) return nullptr;
  auto* ref = static_cast<JsRef*>(lua_touserdata(L, index));
  return ref->host ? ref : nullptr;  // finalized already: another finalizer asks
}

namespace {

void push_meta(lua_State* L, const char* name) {
  if (!luaL_newmetatable(L, name)) return;
  lua_pushcfunction(L, js_ref_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
}

void push_ref(VmHost* host, lua_State* L, napi_value v, const char* meta) {
  JsRef* ref = static_cast<JsRef*>(lua_newuserdata(L, sizeof(JsRef)));
  ref->host = host;
  ref->ref = nullptr;
  push_meta(L, meta);
  lua_setmetatable(L, -2);
  host->retain();
  napi_create_reference(host->napi(), v, 1, &ref->ref);
}

}  // namespace

void push_js_ref(VmHost* host, lua_State* L, napi_value v) { push_ref(host, L, v, kJsRefMeta); }

void push_js_object(VmHost* host, lua_State* L, napi_value v) {
  push_ref(host, L, v, kJsObjectMeta);
}

void push_object_meta(lua_State* L) { push_meta(L, kJsObjectMeta); }

int call_host_function(lua_State* L) {
  PromiseWait* wait = nullptr;
  if (call_host(L, &wait) == Outcome::kWait) return PromiseWait::yield(L, wait);
  return 2;
}

napi_value wrap_function(VmHost* host, lua_State* L, int index, Results results) {
  LuaRef* ref = make_ref(host, L, index, results);
  napi_value fn = nullptr;
  napi_create_function(host->napi(), "lua", NAPI_AUTO_LENGTH, lua_function, ref, &fn);
  return tag(host, fn, ref);
}

napi_value wrap_table(VmHost* host, lua_State* L, int index) {
  LuaRef* ref = make_ref(host, L, index, Results::kFirst);
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
  LuaRef* own = make_ref(host, L, lua_gettop(L), Results::kFirst);
  lua_pop(L, 1);
  return tag(host, proxy, own);
}

LuaRef* unwrap(VmHost* host, napi_value v) {
  bool ours = false;
  if (napi_check_object_type_tag(host->napi(), v, &kLuaRefTag, &ours) != napi_ok || !ours)
    return nullptr;
  void* data = nullptr;
  if (napi_unwrap(host->napi(), v, &data) != napi_ok) return nullptr;
  LuaRef* ref = static_cast<LuaRef*>(data);
  // Of another VM: it is a function or object like any other.
  return ref && ref->host == host && !host->closed() ? ref : nullptr;
}

}  // namespace moonphase::bind
