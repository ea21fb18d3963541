#include "bind/promise_wait.h"

#include "bind/js_call.h"
#include "bind/js_request.h"
#include "bind/napi_util.h"
#include "engine/exec.h"
#include "engine/limits.h"

namespace moonphase::bind {

namespace {
constexpr const char* kCannotWait =
    "a JavaScript function returned a promise where Lua cannot wait";

int cannot_wait(lua_State* L, const char* why) {
  lua_settop(L, 0);
  lua_pushboolean(L, 0);
  lua_pushfstring(L, "%s: %s", kCannotWait, why);
  return 2;
}
}  // namespace

PromiseWait* PromiseWait::start(VmHost* host, napi_value promise) {
  Env* env = host->env();
  napi_env napi = env->napi();
  uint32_t id = env->next_promise++;
  PromiseWait* wait = new PromiseWait(host, id);
  env->promises.emplace(id, wait);
  napi_value watch = nullptr, args[2] = {promise, js_number(napi, id)}, ignored;
  napi_get_reference_value(napi, env->watch_promise, &watch);
  if (call_js(env, nullptr, nullptr, watch, 2, args, &ignored)) return wait;
  wait->cancel();
  return nullptr;
}

int PromiseWait::yield(lua_State* L, PromiseWait* wait) {
  http::Request* r = engine::request_of(L);
  if (!r) {
    wait->cancel();
    return cannot_wait(L, "there is no request");
  }
  char text[128];
  size_t n = sizeof text - 1;
  if (engine::check_ffi(r, engine::kCapYield, text, &n) != kOk) {
    text[n < sizeof text ? n : sizeof text - 1] = '\0';
    wait->cancel();
    return cannot_wait(L, text);
  }
  engine::LuaCtx* ctx = engine::ctx_of(r);
  if (!ctx || !ctx->current || ctx->current->L != L || lua_isyieldable(L) == 0) {
    wait->cancel();
    return cannot_wait(L, "attempt to yield across C-call boundary");
  }
  return engine::wait(L, wait);
}

napi_value PromiseWait::settled(napi_env napi, napi_callback_info info) {
  Args<3> args(napi, info);
  Env* env = Env::of(napi);
  uint32_t id = 0;
  napi_get_value_uint32(napi, args[0], &id);
  auto it = env->promises.find(id);
  if (it == env->promises.end()) return nullptr;  // whoever waited is gone
  PromiseWait* wait = it->second;
  env->promises.erase(it);
  napi_get_value_bool(napi, args[1], &wait->ok_);
  // References hold objects only; what is none is put into one.
  napi_value box;
  napi_create_object(napi, &box);
  js_set(napi, box, "v", args.count > 2 ? args[2] : js_undefined(napi));
  napi_create_reference(napi, box, 1, &wait->value_);
  FromJs from(env);
  engine::wake(wait);
  return nullptr;
}

// Leaves true and the value, or false and the error.
void PromiseWait::push_outcome(lua_State* L) {
  IntoJs js(host_->env());
  engine::Generation* g = host_->generation();  // null: closed
  engine::Limits::Pause pause(g ? g->limits.get() : nullptr);
  napi_env env = host_->napi();
  napi_value box = nullptr;
  std::string error;
  lua_pushboolean(L, ok_);
  if (!js.ok() || napi_get_reference_value(env, value_, &box) != napi_ok || !box) {
    error = "JavaScript does not run any more";
  } else if (!ok_) {
    push_exception(host_, L, js_get(env, box, "v"));
  } else if (napi_value v = js_get(env, box, "v");
             objects_ ? !push_js_value(host_, L, v, &error) : !push_js(host_, L, v, &error)) {
    error = "what a promise resolved to: " + error;
  }
  napi_delete_reference(env, value_);
  if (error.empty()) return;
  lua_pop(L, 1);
  lua_pushboolean(L, 0);
  lua_pushlstring(L, error.data(), error.size());
}

int PromiseWait::results(lua_State* L) {
  if (request_) JsRequest::end(host_->env(), request_, false);
  push_outcome(L);
  delete this;
  return 2;
}

void PromiseWait::cancel() {
  if (request_) JsRequest::end(host_->env(), request_, true);
  host_->env()->promises.erase(id_);
  if (value_) napi_delete_reference(host_->napi(), value_);
  delete this;
}

}  // namespace moonphase::bind
