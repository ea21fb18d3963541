// A call from JavaScript into Lua: a request without a client, in the timer phase, whose entry
// coroutine runs the function. If it ends before it comes back, JavaScript gets the results at
// once, and request and coroutine are kept for the next call; otherwise it has got a promise.
#include <memory>

#include "bind/js_call.h"
#include "bind/js_error.h"
#include "bind/luavm.h"
#include "bind/napi_util.h"
#include "engine/exec.h"
#include "engine/scheduler.h"

namespace moonphase::bind {

struct Call {
  VmHost* host;
  http::Request* r;
  engine::LuaCtx* ctx;
  engine::Co* co;
  Arena::Mark fresh;  // of the request that has run nothing yet
  Results mode = Results::kFirst;
  bool on_stack = true;  // run_call has not returned yet
  bool ended = false;    // the ctx is gone
  bool settled = false;  // the coroutine has ended
  bool failed = false;
  napi_value value = nullptr;  // while on_stack: the result, or what to throw
  napi_deferred deferred = nullptr;
  napi_ref promise = nullptr;  // weak
  napi_async_context context = nullptr;
  uint32_t id = 0;  // of one that waits
  Call *next = nullptr, **link = nullptr;
};

namespace {

void free_call(Call* call) {
  Env* env = call->host->env();
  if (!env->closing()) {
    free_context(env, call->context);
    if (call->promise) napi_delete_reference(env->napi(), call->promise);
  }
  if (call->deferred) env->unhold();
  if (call->link) {
    *call->link = call->next;
    if (call->next) call->next->link = call->link;
  }
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

// The results are all that is on L. Null: *error says why not.
napi_value results(VmHost* host, Results mode, lua_State* L, std::string* error) {
  if (mode == Results::kLive) return to_js_live(host, L, 1, error);
  if (mode == Results::kFirst) return to_js(host, L, 1, error);
  int count = lua_gettop(L);
  napi_value list = nullptr;
  napi_create_array_with_length(host->napi(), static_cast<size_t>(count), &list);
  for (int i = 0; i < count; ++i) {
    napi_value v = to_js(host, L, 1 + i, error);
    if (!v) return nullptr;
    napi_set_element(host->napi(), list, static_cast<uint32_t>(i), v);
  }
  return list;
}

napi_value unusable(VmHost* host, const std::string& error) {
  return make_error(host->napi(), "ERR_MOONPHASE_VALUE", "the result: " + error);
}

Call* call_of(engine::LuaCtx* ctx) { return static_cast<Call*>(ctx->host); }

// `take` is called where it may make JavaScript values; those of a call that has not returned
// belong to the native function that JavaScript called.
template <class F>
void with_js(engine::LuaCtx* ctx, F take) {
  Call* call = call_of(ctx);
  if (!call || call->settled) return;
  if (call->on_stack) return take(call);
  IntoJs js(call->host->env());
  if (js.ok()) take(call);
}

void give_results(Call* call, lua_State* L) {
  VmHost* host = call->host;
  std::string error;
  napi_value value = results(host, call->mode, L, &error);
  settle(call, value != nullptr, value ? value : unusable(host, error));
}

napi_value exception_of(VmHost* host, lua_State* L) {
  lua_State* own = host->vm()->L();  // the host may be closed by now
  luaL_traceback(own, L, nullptr, 0);
  size_t n = 0;
  const char* s = lua_tolstring(own, -1, &n);
  std::string traceback(s, n);
  lua_pop(own, 1);
  return to_exception(host, L, lua_gettop(L), traceback);
}

// The coroutine has ended after it had waited, or leaves something behind.
void take_results(engine::LuaCtx* ctx, lua_State* L) {
  with_js(ctx, [L](Call* call) { give_results(call, L); });
}

void take_error(engine::LuaCtx* ctx, lua_State* L) {
  with_js(ctx, [L](Call* call) { settle(call, false, exception_of(call->host, L)); });
}

constexpr engine::EntryWatch kWatch{take_results, take_error};

// All coroutines of the call have ended, or something ended them.
void finished(engine::LuaCtx* ctx, int) {
  Call* call = call_of(ctx);
  if (!call->host->env()->closing()) {
    const std::string message =
        "the Lua code ended itself by ngx.exit(" + std::to_string(ctx->exit_code) + ")";
    with_js(ctx, [&message](Call* c) {
      settle(c, false, make_error(c->host->napi(), "ERR_MOONPHASE_EXIT", message));
    });
  }
  ctx->host = nullptr;
  engine::finish_fake_request(ctx->r);
  call->ended = true;
  if (!call->on_stack) free_call(call);
}

// Its request has run nothing that would show in another call.
bool reusable(const Call* call) {
  return !call->host->attached() && !call->host->closed() && call->fresh == call->r->pool->mark() &&
         lua_topointer(call->co->L, LUA_GLOBALSINDEX) ==
             lua_topointer(call->host->L(), LUA_GLOBALSINDEX);
}

}  // namespace

napi_async_context call_context(lua_State* L) {
  http::Request* r = engine::request_of(L);
  engine::LuaCtx* ctx = r ? engine::ctx_of(r) : nullptr;
  return ctx && ctx->watch == &kWatch && ctx->host ? call_of(ctx)->context : nullptr;
}

Call* begin_call(VmHost* host) {
  if (Call* call = host->calls) {
    host->calls = call->next;
    call->next = nullptr;
    return call;
  }
  http::Request* r = host->runtime()->fake_request(host->generation(), engine::kPhaseTimer);
  host->vm()->retain();
  engine::LuaCtx* ctx = engine::make_fake_ctx(r, host->vm(), engine::kPhaseTimer);
  lua_State* L = host->L();
  lua_pushnil(L);  // in place of a function
  engine::Co* co = engine::start_entry(ctx, engine::kPhaseTimer);
  lua_settop(co->L, 0);
  Call* call = new Call{host, r, ctx, co, r->pool->mark()};
  ctx->host = call;
  ctx->finish = finished;
  ctx->watch = &kWatch;
  return call;
}

lua_State* call_stack(const Call* call) { return call->co->L; }

void drop_call(Call* call) {
  VmHost* host = call->host;
  if (reusable(call)) {
    lua_settop(call->co->L, 0);
    call->next = host->calls;
    host->calls = call;
    return;
  }
  call->ctx->host = nullptr;
  engine::finish_fake_request(call->r);
  delete call;
}

void free_calls(VmHost* host) {
  while (Call* call = host->calls) {
    host->calls = call->next;
    call->ctx->host = nullptr;
    engine::finish_fake_request(call->r);
    delete call;
  }
}

napi_value run_call(Call* call, int argc, Results mode) {
  VmHost* host = call->host;
  napi_env env = host->napi();
  engine::Co* co = call->co;
  call->mode = mode;
  host->use();
  int status = engine::resume_entry(co, argc);
  napi_value result = nullptr;
  if (status == 0 && engine::entry_idle(co)) {
    lua_State* L = co->L;
    if (mode == Results::kFirst && lua_type(L, 1) == LUA_TNUMBER) {
      napi_create_double(env, lua_tonumber(L, 1), &result);
    } else {
      std::string error;
      result = results(host, mode, L, &error);
      if (!result && !host->env()->closing()) napi_throw(env, unusable(host, error));
    }
    call->ctx->current = nullptr;
    drop_call(call);
    host->unuse();
    return result;
  }
  engine::after_entry(co, status);
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
    napi_create_reference(env, result, 0, &call->promise);
    call->context = make_context(host->env(), "LuaVM");
    call->id = ++host->last_waiting;
    call->next = host->waiting;
    if (call->next) call->next->link = &call->next;
    call->link = &host->waiting;
    host->waiting = call;
  }
  if (call->ended) free_call(call);
  return result;
}

namespace {

void end_call(Call* call) {
  call->ctx->host = nullptr;
  engine::finish_fake_request(call->r);
  free_call(call);
}

Call* find_call(VmHost* host, uint32_t id) {
  Call* call = host->waiting;
  while (call && call->id != id) call = call->next;
  return call;
}

struct Cancelled {
  VmHost* host;
  uint32_t id;
};

}  // namespace

void cancel_call(VmHost* host, uint32_t id, napi_value reason) {
  Call* call = find_call(host, id);
  if (!call || call->settled) return;
  settle(call, false, reason);
  if (!engine::RunningLua::any()) return end_call(call);
  // It may be the one that runs, and has called JavaScript.
  host->retain();
  host->env()->loop()->defer_free(
      [](void* p) {
        std::unique_ptr<Cancelled> one(static_cast<Cancelled*>(p));
        if (Call* over = find_call(one->host, one->id)) end_call(over);
        one->host->release();
      },
      new Cancelled{host, id});
}

// A promise that nobody looks at is no unhandled rejection when its VM is closed: nothing went
// wrong.
void handle_rejection(Call* call) {
  Env* env = call->host->env();
  napi_value promise = nullptr, watch = nullptr, ignored;
  if (napi_get_reference_value(env->napi(), call->promise, &promise) != napi_ok || !promise) return;
  napi_get_reference_value(env->napi(), env->watch_promise, &watch);
  napi_value args[2] = {promise, js_number(env->napi(), 0)};  // a number that nothing waits under
  call_js(env, nullptr, nullptr, watch, 2, args, &ignored);
}

void end_waiting_calls(VmHost* host) {
  if (!host->waiting) return;
  IntoJs js(host->env());
  napi_value error = nullptr;
  while (Call* call = host->waiting) {
    if (js.ok() && !call->settled) {
      if (!error)
        error = make_error(host->napi(), "ERR_MOONPHASE_CLOSED",
                           "the Lua VM was closed before this call ended");
      handle_rejection(call);
      settle(call, false, error);
    }
    end_call(call);
  }
}

}  // namespace moonphase::bind
