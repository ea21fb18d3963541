#include "bind/js_request.h"

#include "bind/js_call.h"
#include "bind/js_error.h"
#include "bind/napi_util.h"
#include "bind/promise_wait.h"
#include "engine/exec.h"
#include "engine/scheduler.h"
#include "engine/side_run.h"
#include "lua/call.h"
#include "lua/embedded.h"
#include "ngx/log.h"

namespace moonphase::bind {

namespace {

constexpr uint32_t kBefore = engine::kPhaseServerRewrite | engine::kPhaseRewrite |
                             engine::kPhaseAccess | engine::kPhasePrecontent |
                             engine::kPhaseContent;

// What a handler's native functions are called with: the number of its request, a name, arguments.
struct Arguments {
  Arguments(napi_env e, napi_callback_info info) {
    napi_get_cb_info(e, info, &count, few, nullptr, nullptr);
    if (count <= kFew) return;
    many.reset(new napi_value[count]);
    napi_get_cb_info(e, info, &count, many.get(), nullptr, nullptr);
  }
  napi_value operator[](size_t i) const { return many ? many[i] : few[i]; }
  static constexpr size_t kFew = 8;
  size_t count = kFew;
  napi_value few[kFew];
  std::unique_ptr<napi_value[]> many;
};

// (level, text)
int js_log(lua_State* L) {
  http::Request* r = engine::request_of(L);
  const Log& log = ngx::log_for(r);
  const int level = static_cast<int>(lua_tointeger(L, 1));
  if (!log.enabled(level)) return 0;
  size_t n = 0;
  const char* text = lua_tolstring(L, 2, &n);
  std::string line = "[js] ";
  log_bytes(log, r ? r->conn : nullptr, level, line.append(text, n));
  return 0;
}

int load_api(lua_State* L) {
  const lua::EmbeddedFile* file = lua::find_embedded("moonphase/js_request.lua");
  if (lua::load_embedded(L, *file) != 0) return lua_error(L);
  lua_pushcfunction(L, js_log);
  lua_call(L, 1, 1);
  auto* host = static_cast<VmHost*>(lua_touserdata(L, 1));
  host->api_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

}  // namespace

// A light thread that works for JavaScript. It is pending until it starts, after what runs now.
class JsOp final : public engine::Pending {
 public:
  JsOp(JsRequest* q, napi_deferred d) : request(q), deferred(d), next(q->ops_), link(&q->ops_) {
    if (next) next->link = &next;
    q->ops_ = this;
    start_.fn = start;
    start_.data = this;
  }
  void schedule(engine::Co* c, int nargs) {
    co = c;
    c->pending = this;
    nargs_ = nargs;
    net::current_loop()->post(&start_);
  }
  int results(lua_State*) override { return 0; }
  void cancel() override {
    net::current_loop()->cancel(&start_);
    fail();
  }
  // The thread is gone. Frees it.
  void fail() {
    VmHost* host = request->host_;
    IntoJs js(host->env());
    if (js.ok()) {
      napi_reject_deferred(
          host->napi(), deferred,
          make_error(host->napi(), "ERR_MOONPHASE_CLOSED", "the request has ended"));
    }
    free();
  }
  void free() {
    JsRequest* q = request;
    if (start_.queued) net::current_loop()->cancel(&start_);
    *link = next;
    if (next) next->link = link;
    delete this;
    q->free_if_idle();
  }
  void settle(lua_State* L) {
    VmHost* host = request->host_;
    IntoJs js(host->env());
    if (js.ok()) {
      std::string error;
      bool ok = lua_toboolean(L, 2) != 0;
      napi_value value = nullptr;
      if (ok) {
        value = to_js(host, L, 3, &error);
        if (!value) value = make_error(host->napi(), "ERR_MOONPHASE_VALUE", error);
      } else {
        value = to_exception(host, L, 3, std::string());
      }
      if (ok && error.empty()) {
        napi_resolve_deferred(host->napi(), deferred, value);
      } else {
        napi_reject_deferred(host->napi(), deferred, value);
      }
    }
    free();
  }

  JsRequest* request;
  napi_deferred deferred;
  JsOp *next, **link;

 private:
  ~JsOp() = default;
  static void start(void* self) {
    auto* op = static_cast<JsOp*>(self);
    engine::Co* c = op->co;
    op->co = nullptr;
    c->pending = nullptr;
    engine::resume_co(c, op->nargs_);
  }
  net::Posted start_{};
  int nargs_ = 0;
};

JsRequest::JsRequest(VmHost* host, engine::LuaCtx* ctx, uint32_t id)
    : host_(host), ctx_(ctx), side_(ctx ? ctx->side : nullptr), id_(id) {
  host->retain();
  host->env()->requests.emplace(id, this);
  if (ctx) cleanup_ = ctx->r->pool->on_destroy(ctx_gone, this);
}

JsRequest::~JsRequest() {
  host_->env()->requests.erase(id_);
  if (cleanup_) cleanup_->fn = nullptr;
  host_->release();
}

JsRequest* JsRequest::open(VmHost* host, lua_State* L) {
  http::Request* r = engine::request_of(L);
  return new JsRequest(host, r ? engine::ctx_of(r) : nullptr, host->env()->next_request++);
}

JsRequest* JsRequest::find(Env* env, napi_value id) {
  uint32_t n = 0;
  napi_get_value_uint32(env->napi(), id, &n);
  auto it = env->requests.find(n);
  if (it != env->requests.end() && !it->second->ended_ && !it->second->host_->closed())
    return it->second;
  throw_error(env->napi(), "ERR_MOONPHASE_CLOSED", "the handler of this request has ended");
  return nullptr;
}

void JsRequest::settle_watch(bool was_cancelled) {
  if (!watch_) return;
  IntoJs js(host_->env());
  if (js.ok())
    napi_resolve_deferred(host_->napi(), watch_, js_boolean(host_->napi(), was_cancelled));
  watch_ = nullptr;
}

void JsRequest::end(bool was_cancelled) {
  if (ended_) return;
  ended_ = true;
  settle_watch(was_cancelled);
  if (was_cancelled && ops_) {
    reject_ops();
  } else {
    free_if_idle();
  }
}

void JsRequest::end(Env* env, uint32_t id, bool was_cancelled) {
  auto it = env->requests.find(id);
  if (it != env->requests.end()) it->second->end(was_cancelled);
}

// The last one frees us.
void JsRequest::reject_ops() {
  for (JsOp* op = ops_; op;) {
    JsOp* next = op->next;
    if (!op->co) op->fail();  // what has not begun is cancelled with its coroutine
    op = next;
  }
}

void JsRequest::free_if_idle() {
  if (ended_ && !ops_) delete this;
}

void JsRequest::ctx_gone(void* self) {
  auto* q = static_cast<JsRequest*>(self);
  q->ctx_ = nullptr;
  q->cleanup_ = nullptr;
  q->ended_ = true;
  q->settle_watch(true);
  if (q->ops_) {
    q->reject_ops();
  } else {
    q->free_if_idle();
  }
}

bool JsRequest::push_function(lua_State* L, napi_value name, std::string* error) {
  if (host_->api_ref == LUA_NOREF && lua::protect(host_->L(), load_api, host_) != 0) {
    *error = std::string(lua::error_text(host_->L(), "unknown error"));
    lua_pop(host_->L(), 1);
    return false;
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, host_->api_ref);
  if (!push_js(host_, L, name, error)) return false;
  lua_rawget(L, -2);
  lua_remove(L, -2);
  return true;
}

napi_value JsRequest::call(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  Env* e = Env::of(env);
  JsRequest* q = args.count < 2 ? nullptr : find(e, args[0]);
  if (!q) return nullptr;
  FromJs from(e);
  VmHost* host = q->host_;
  engine::LuaCtx* ctx = q->ctx_;
  engine::Generation* g = host->generation();
  engine::InPlace place(q->side_);
  int ref;
  lua_State* L = engine::obtain_thread(g, host->vm(), &ref, ctx ? ctx->r->conn : nullptr);
  if (ctx) lua_setexdata(L, ctx->r);
  std::string error;
  const int nargs = static_cast<int>(args.count) - 2;
  bool ok = lua_checkstack(L, nargs + 8) && q->push_function(L, args[1], &error);
  for (size_t i = 2; ok && i < args.count; ++i) ok = push_js(host, L, args[i], &error);
  napi_value result = nullptr;
  if (!ok) {
    throw_error(env, "ERR_MOONPHASE_VALUE", error);
  } else {
    int status;
    {
      engine::RunningLua running(g, L, nargs, ctx ? ctx->r->conn : nullptr);
      status = lua::protected_call(L, nargs, 2, false);
    }
    if (status != 0) {
      napi_value exception = to_exception(host, L, lua_gettop(L), std::string());
      if (exception) napi_throw(env, exception);
    } else {
      result = lua_toboolean(L, -1) ? to_js_live(host, L, -2, &error) : to_js(host, L, -2, &error);
      if (!result) throw_error(env, "ERR_MOONPHASE_VALUE", error);
    }
  }
  engine::release_thread(g, host->vm(), L, ref);
  return result;
}

napi_value JsRequest::run(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  Env* e = Env::of(env);
  JsRequest* q = args.count < 2 ? nullptr : find(e, args[0]);
  if (!q) return nullptr;
  FromJs from(e);
  VmHost* host = q->host_;
  engine::LuaCtx* ctx = q->ctx_;
  engine::InPlace place(q->side_);
  char text[128] = "there is no request";
  size_t n = sizeof text - 1;
  if (!ctx || engine::check_ffi(ctx->r, engine::kCapYield, text, &n) != kOk) {
    throw_error(env, "ERR_MOONPHASE_LUA", text);
    return nullptr;
  }
  lua_State* L = host->L();
  int top = lua_gettop(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, host->async_ref);
  engine::Co* co = engine::new_coroutine(ctx, L, true);
  lua_settop(L, top);
  co->is_uthread = true;
  co->status = engine::Co::kRunning;
  ++ctx->uthreads;
  napi_value promise = nullptr;
  napi_deferred deferred = nullptr;
  napi_create_promise(env, &deferred, &promise);
  auto* op = new JsOp(q, deferred);
  const int nargs =
      static_cast<int>(args.count);  // the op and the function for the id and the name
  std::string error;
  bool ok = lua_checkstack(co->L, nargs + 4);
  lua_pushlightuserdata(co->L, op);
  ok = ok && q->push_function(co->L, args[1], &error);
  for (size_t i = 2; ok && i < args.count; ++i) ok = push_js(host, co->L, args[i], &error);
  if (!ok) {
    engine::kill_thread(co);
    napi_reject_deferred(env, deferred, make_error(env, "ERR_MOONPHASE_VALUE", error));
    op->free();
    return promise;
  }
  op->schedule(co, nargs);
  return promise;
}

napi_value JsRequest::cancelled(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  Env* e = Env::of(env);
  JsRequest* q = find(e, args[0]);
  if (!q) return nullptr;
  FromJs from(e);
  napi_value promise = nullptr;
  if (q->watch_) {
    throw_error(env, "ERR_MOONPHASE_OPTION", "this is asked for once");
    return nullptr;
  }
  napi_create_promise(env, &q->watch_, &promise);
  // Whoever asks wants to know of a client that goes away, whatever lua_check_client_abort says.
  engine::LuaCtx* ctx = q->ctx_;
  if (ctx && !ctx->fake && ctx->r->is_main() && (ctx->phase & kBefore))
    engine::lua_watch_client(ctx);
  return promise;
}

int js_op_done(lua_State* L) {
  static_cast<JsOp*>(lua_touserdata(L, 1))->settle(L);
  return 0;
}

int js_handler_run(lua_State* L) {
  VmHost* host = static_cast<JsRef*>(lua_touserdata(L, 1))->host;
  const uint32_t id = JsRequest::open(host, L)->id();
  lua_pushnumber(L, id);
  lua_insert(L, 2);
  PromiseWait* wait = nullptr;
  Outcome outcome = call_host(L, &wait);
  if (outcome == Outcome::kWait) {
    wait->serve(id);
    return PromiseWait::yield(L, wait);
  }
  JsRequest::end(host->env(), id, false);
  return 2;
}

void define_js_request(napi_env env, napi_value exports) {
  add_function(env, exports, "requestCall", JsRequest::call);
  add_function(env, exports, "requestRun", JsRequest::run);
  add_function(env, exports, "requestCancelled", JsRequest::cancelled);
}

}  // namespace moonphase::bind
