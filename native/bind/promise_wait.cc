#include "bind/promise_wait.h"

#include "bind/js_call.h"
#include "bind/napi_util.h"
#include "engine/exec.h"

namespace moonphase::bind {

namespace {
constexpr const char* kCannotWait = "a JavaScript function returned a promise where Lua cannot wait";
}

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
  if (!wait) return luaL_error(L, "JavaScript does not run any more");
  engine::LuaCtx* ctx = nullptr;
  if (http::Request* r = engine::request_of(L)) ctx = engine::ctx_of(r);
  if (!ctx || !ctx->current || ctx->current->L != L) {
    wait->cancel();
    return luaL_error(L, kCannotWait);
  }
  const engine::PhaseRow* row = engine::phase_row(ctx->phase);
  if (!row || !(row->strict & engine::kCapYield)) {
    wait->cancel();
    return luaL_error(L, "%s (in the context of %s)", kCannotWait, row ? row->directive : "init_by_lua*");
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

bool PromiseWait::push_outcome(lua_State* L) {
  IntoJs js(host_->env());
  napi_env env = host_->napi();
  napi_value box = nullptr;
  bool ok = ok_;
  std::string error;
  if (!js.ok() || napi_get_reference_value(env, value_, &box) != napi_ok || !box) {
    lua_pushliteral(L, "JavaScript does not run any more");
    ok = false;
  } else if (!ok) {
    push_exception(host_, L, js_get(env, box, "v"));
  } else if (!push_js(host_, L, js_get(env, box, "v"), &error)) {
    lua_pushfstring(L, "what a promise resolved to: %s", error.c_str());
    ok = false;
  }
  napi_delete_reference(env, value_);
  return ok;
}

int PromiseWait::results(lua_State* L) {
  bool ok = push_outcome(L);
  delete this;
  return ok ? 1 : lua_error(L);
}

void PromiseWait::cancel() {
  host_->env()->promises.erase(id_);
  if (value_) napi_delete_reference(host_->napi(), value_);
  delete this;
}

}  // namespace moonphase::bind
