#include "bind/js_handler.h"

#include <vector>

#include "bind/js_call.h"
#include "bind/luavm.h"
#include "bind/napi_util.h"

namespace moonphase::bind {

namespace {

struct Functions {
  explicit Functions(Env* e) : env(e->napi()) {}
  ~Functions() {
    for (napi_ref ref : refs) napi_delete_reference(env, ref);
  }
  Functions(const Functions&) = delete;
  Functions& operator=(const Functions&) = delete;
  napi_env env;
  std::vector<napi_ref> refs;
};

}  // namespace

std::shared_ptr<void> keep_handlers(Env* env, napi_value list) {
  uint32_t n = 0;
  if (js_type(env->napi(), list) == napi_object) napi_get_array_length(env->napi(), list, &n);
  if (n == 0) return nullptr;
  auto functions = std::make_shared<Functions>(env);
  for (uint32_t i = 0; i < n; ++i) {
    napi_value fn = nullptr;
    napi_ref ref = nullptr;
    napi_get_element(env->napi(), list, i, &fn);
    napi_create_reference(env->napi(), fn, 1, &ref);
    functions->refs.push_back(ref);
  }
  return functions;
}

int push_handler(lua_State* L, const engine::Plan& plan, int index) {
  auto* functions = static_cast<Functions*>(plan.js.get());
  std::string error;
  if (!functions || static_cast<size_t>(index) >= functions->refs.size()) {
    lua_pushliteral(L, "it was not given");
    return LUA_ERRRUN;
  }
  VmHost* host = VmHost::of(L, &error);
  if (!host) {
    lua_pushlstring(L, error.data(), error.size());
    return LUA_ERRRUN;
  }
  IntoJs js(host->env());
  napi_value fn = nullptr;
  if (!js.ok() || napi_get_reference_value(
                      host->napi(), functions->refs[static_cast<size_t>(index)], &fn) != napi_ok) {
    lua_pushstring(L, kGone);
    return LUA_ERRRUN;
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, host->handler_ref);
  push_js_ref(host, L, fn);
  lua_call(L, 1, 1);
  return 0;
}

}  // namespace moonphase::bind
