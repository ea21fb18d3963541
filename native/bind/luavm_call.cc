// A call from JavaScript into Lua: a request without a client, in the timer phase, whose entry
// coroutine runs
//   entry(f, ...) = done(xpcall(f, traceback, ...))
// `done` makes JavaScript values of the results, while the coroutine still holds them. If it ran
// before the call came back, JavaScript gets them at once; otherwise it has got a promise, which
// `done` settles.
#include "bind/js_call.h"
#include "bind/js_error.h"
#include "bind/luavm.h"
#include "bind/napi_util.h"
#include "engine/exec.h"

namespace moonphase::bind {

namespace {

struct Call {
  VmHost* host;
  Results mode;
  bool on_stack = true;  // call_lua has not returned yet
  bool ended = false;    // the ctx is gone
  bool settled = false;  // `done` ran
  bool failed = false;
  napi_value value = nullptr;  // while on_stack: the result, or what to throw
  napi_deferred deferred = nullptr;
  napi_async_context context = nullptr;
};

void free_call(Call* call) {
  Env* env = call->host->env();
  if (!env->closing()) free_context(env, call->context);
  if (call->deferred) env->unhold();
  call->host->unuse();
  delete call;
}

void settle(Call* call, bool ok, napi_value value) {
  call->settled = true;
  call->failed = !ok;
  napi_env env = call->host->napi();
  if (!value) value = js_undefined(env);
  if (call->on_stack) {
    call->value = value;
  } else if (call->deferred) {
    if (ok) {
      napi_resolve_deferred(env, call->deferred, value);
    } else {
      napi_reject_deferred(env, call->deferred, value);
    }
  }
}

napi_value plain_error(VmHost* host, const char* code, const std::string& message) {
  return make_error(host->napi(), code, message);
}

// The results on L from `first` on. Null: *error says why not.
napi_value results(Call* call, lua_State* L, int first, std::string* error) {
  VmHost* host = call->host;
  int count = lua_gettop(L) - first + 1;
  if (call->mode == Results::kLive) return to_js_live(host, L, first, error);
  if (call->mode == Results::kFirst) return to_js(host, L, first, error);
  napi_value list = nullptr;
  napi_create_array_with_length(host->napi(), static_cast<size_t>(count), &list);
  for (int i = 0; i < count; ++i) {
    napi_value v = to_js(host, L, first + i, error);
    if (!v) return nullptr;
    napi_set_element(host->napi(), list, static_cast<uint32_t>(i), v);
  }
  return list;
}

void take(Call* call, lua_State* L) {
  VmHost* host = call->host;
  if (lua_toboolean(L, 1)) {
    std::string error;
    napi_value value = results(call, L, 2, &error);
    if (value) {
      settle(call, true, value);
    } else {
      settle(call, false, plain_error(host, "ERR_MOONPHASE_VALUE", "the result: " + error));
    }
    return;
  }
  settle(call, false, to_exception(host, L, 2, host->traceback));
  host->traceback.clear();
}

// All coroutines of the call have ended, or something ended them.
void finished(engine::LuaCtx* ctx, int) {
  Call* call = static_cast<Call*>(ctx->host);
  ctx->host = nullptr;
  int exit_code = ctx->exit_code;
  engine::finish_fake_request(ctx->r);
  if (!call->settled && !call->host->env()->closing()) {
    const std::string message =
        "the Lua code ended itself by ngx.exit(" + std::to_string(exit_code) + ")";
    if (call->on_stack) {
      settle(call, false, plain_error(call->host, "ERR_MOONPHASE_EXIT", message));
    } else {
      IntoJs js(call->host->env());
      if (js.ok()) settle(call, false, plain_error(call->host, "ERR_MOONPHASE_EXIT", message));
    }
  }
  call->ended = true;
  if (!call->on_stack) free_call(call);
}

Call* call_of(lua_State* L) {
  http::Request* r = engine::request_of(L);
  engine::LuaCtx* ctx = r ? engine::ctx_of(r) : nullptr;
  return ctx && ctx->finish == finished ? static_cast<Call*>(ctx->host) : nullptr;
}

}  // namespace

napi_async_context call_context(lua_State* L) {
  Call* call = call_of(L);
  return call ? call->context : nullptr;
}

int call_done(lua_State* L) {
  Call* call = call_of(L);
  if (!call || call->settled) return 0;
  if (call->on_stack) {
    take(call, L);  // the handles are those of the native function that JavaScript called
    return 0;
  }
  IntoJs js(call->host->env());
  if (js.ok()) take(call, L);
  return 0;
}

int call_traceback(lua_State* L) {
  if (Call* call = call_of(L)) {
    luaL_traceback(L, L, nullptr, 1);
    size_t n = 0;
    const char* s = lua_tolstring(L, -1, &n);
    call->host->traceback.assign(s, n);
    lua_pop(L, 1);
  }
  return 1;
}

napi_value call_lua(VmHost* host, int argc, Results mode) {
  lua_State* L = host->L();
  int base = lua_gettop(L) - argc;  // the function
  http::Request* r = host->runtime()->fake_request(host->generation(), engine::kPhaseTimer);
  engine::LuaCtx* ctx = r ? engine::lua_ctx(r) : nullptr;
  if (!ctx) {
    lua_settop(L, base - 1);
    if (r) engine::finish_fake_request(r);
    throw_error(host->napi(), "ERR_MOONPHASE_CLOSED", "no memory for a call into Lua");
    return nullptr;
  }
  host->use();
  Call* call = new Call{host, mode};
  lua_rawgeti(L, LUA_REGISTRYINDEX, host->entry_ref);
  engine::Co* co = engine::start_entry(ctx, engine::kPhaseTimer);
  ctx->host = call;
  ctx->finish = finished;
  lua_checkstack(co->L, argc + 2);
  lua_xmove(L, co->L, argc + 1);
  engine::resume_co(co, argc + 1);

  napi_env env = host->napi();
  napi_value result = nullptr;
  call->on_stack = false;
  if (call->settled) {
    result = call->value;
    if (call->failed) {
      if (!host->env()->closing()) napi_throw(env, result);
      result = nullptr;
    }
    call->value = nullptr;
  } else if (!call->ended) {
    host->env()->hold();
    napi_create_promise(env, &call->deferred, &result);
    call->context = make_context(host->env(), "LuaVM");
  }
  if (call->ended) free_call(call);
  return result;
}

}  // namespace moonphase::bind
