// The addon's entry point.
#include <dlfcn.h>
#include <node_api.h>

#include "bind/codec.h"
#include "bind/env.h"
#include "bind/gateway.h"
#include "bind/js_handler.h"
#include "bind/js_module.h"
#include "bind/js_request.h"
#include "bind/luavm.h"
#include "bind/napi_util.h"
#include "bind/plan_reader.h"
#include "bind/process.h"
#include "bind/promise_wait.h"
#include "bind/shared_dict.h"
#include "bind/signals.h"
#include "bind/sockets.h"
#include "bind/syslog.h"
#include "bind/zones.h"
#include "engine/exec.h"
#include "engine/worker_threads.h"
#include "ngx/api.h"

namespace moonphase::bind {

namespace {

// setup({makeError, makeCoded, watchPromise, makeProxy}): what lib/binding.ts does for us.
napi_value setup(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  Env* e = Env::of(env);
  auto take = [&](const char* name, napi_ref* ref) {
    if (!*ref) napi_create_reference(env, js_get(env, args[0], name), 1, ref);
  };
  take("makeError", &e->make_error);
  take("makeCoded", &e->make_coded);
  take("watchPromise", &e->watch_promise);
  take("makeProxy", &e->make_proxy);
  take("js", &e->js_helpers);
  return nullptr;
}

// What the Lua code of a VM finds: ngx and its libraries, and `require "js"`.
void open_api(lua_State* L) {
  ngx::open_all(L);
  open_js(L);
}

// Once per process. Lua C modules look up lua_* among the global symbols.
bool init_process() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&init_process), &info) != 0 && info.dli_fname) {
    dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
  }
  engine::lua_open_api = open_api;
  engine::push_js_handler = push_handler;
  engine::lua_open_worker_api = ngx::open_for_worker_thread;
  return true;
}

}  // namespace

}  // namespace moonphase::bind

NAPI_MODULE_INIT() {
  using namespace moonphase::bind;
  [[maybe_unused]] static const bool once = init_process();
  if (!Env::init(env)) {
    napi_throw_error(env, "ERR_MOONPHASE_LOAD", "this Node has no event loop that addons may use");
    return exports;
  }
  add_function(env, exports, "setup", setup);
  add_function(env, exports, "settled", PromiseWait::settled);
  define_js_request(env, exports);
  define_gateway(env, exports);
  define_luavm(env, exports);
  define_codec(env, exports);
  define_plan_reader(env, exports);
  define_process(env, exports);
  define_syslog(env, exports);
  define_shared_dict(env, exports);
  define_signals(env, exports);
  define_sockets(env, exports);
  define_zones(env, exports);
  return exports;
}
