// The class LuaVM of the binding; lib/luavm.ts is what users see.
#include <memory>

#include "bind/gateway.h"
#include "bind/js_error.h"
#include "bind/luavm.h"
#include "bind/napi_util.h"
#include "engine/log_sinks.h"
#include "lua/call.h"
#include "lua/chunks.h"
#include "lua/embedded.h"

namespace moonphase::bind {

namespace {

VmHost* host_of(napi_env env, napi_value self) {
  void* data = nullptr;
  if (napi_unwrap(env, self, &data) != napi_ok || !data) {
    throw_error(env, "ERR_MOONPHASE_OPTION", "not a LuaVM");
    return nullptr;
  }
  VmHost* host = static_cast<VmHost*>(data);
  if (!host->closed()) return host;
  throw_error(env, "ERR_MOONPHASE_CLOSED", "this Lua VM is closed");
  return nullptr;
}

std::unique_ptr<engine::Plan> make_plan(napi_env env, napi_value options) {
  auto plan = std::make_unique<engine::Plan>();
  plan->prefix = text_option(env, options, "prefix");
  plan->has_http = true;
  std::string ignored;
  plan->sinks.push_back(engine::open_sink("stderr", {}, &ignored));
  plan->log_targets.push_back({{plan->sinks.back().get(), kLogNotice}});
  plan->error_log = {plan->log_targets.back().data(), 1, kLogNotice};
  plan->lua.package_path = text_option(env, options, "packagePath");
  plan->lua.package_cpath = text_option(env, options, "packageCpath");
  plan->lua.max_pending_timers = plan->lua.max_running_timers = 1 << 20;
  napi_value dicts = js_get(env, options, "sharedDicts");
  uint32_t count = 0;
  if (js_type(env, dicts) == napi_object) napi_get_array_length(env, dicts, &count);
  for (uint32_t i = 0; i < count; ++i) {
    napi_value item = nullptr;
    napi_get_element(env, dicts, i, &item);
    engine::SharedDictPlan dict;
    dict.name = text_option(env, item, "name");
    dict.size = static_cast<size_t>(number_option(env, item, "size", 0));
    dict.exact = bool_option(env, item, "exact", false);
    dict.any = bool_option(env, item, "any", false);
    plan->lua.shared_dicts.push_back(dict);
  }
  plan->confs.push_back(std::make_unique<engine::LocConf>());
  plan->main_conf = plan->confs.back().get();
  plan->main_conf->error_log = plan->error_log;
  plan->main_conf->lua.check_client_abort = false;
  return plan;
}

struct Loaded {
  bool done = false, ok = false;
  std::string message;
};

void on_loaded(void* data, bool ok, Str message) {
  *static_cast<Loaded*>(data) = {true, ok, std::string(message)};
}

void finalize(napi_env, void* data, void*) { static_cast<VmHost*>(data)->unuse(); }

// A runtime of its own, with an empty plan. Null: *error says why.
engine::Runtime* make_runtime(napi_env env, Env* e, napi_value options, std::string* error) {
  engine::RuntimeOptions o;
  o.lualib = text_option(env, options, "lualib");
  o.user_lualib = text_option(env, options, "userLualib");
  o.embedded = true;
  o.memory_limit = static_cast<size_t>(number_option(env, options, "memoryLimit", 0));
  o.timeout = static_cast<int64_t>(number_option(env, options, "timeout", 0));
  auto plan = make_plan(env, options);
  auto* runtime = new engine::Runtime(e->loop(), o);
  Loaded loaded;
  runtime->load(std::move(plan), on_loaded, &loaded);
  if (loaded.ok) return runtime;
  *error = loaded.message;
  runtime->dispose();  // what has been loaded goes first, after the turn
  return nullptr;
}

bool enter_sandbox(VmHost* host, std::string* error) {
  lua_State* L = host->L();
  const lua::EmbeddedFile* file = lua::find_embedded("moonphase/sandbox.lua");
  if (lua::load_embedded(L, *file) == 0 && lua::protected_call(L, 0, 0) == 0) return true;
  *error = std::string(lua::error_text(L, "unknown error"));
  lua_pop(L, 1);
  return false;
}

double heap_bytes(lua_State* L) {
  return lua_gc(L, LUA_GCCOUNT, 0) * 1024.0 + lua_gc(L, LUA_GCCOUNTB, 0);
}

// new LuaVM(options): of its own, or the one of `options.gateway`.
napi_value construct(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  Env* e = Env::of(env);
  FromJs from(e);
  napi_value options = args[0];
  if (js_type(env, options) == napi_external) {
    void* attached = nullptr;
    napi_get_value_external(env, options, &attached);
    auto* host = static_cast<VmHost*>(attached);
    host->use();
    napi_wrap(env, args.self, host, finalize, nullptr, nullptr);
    return args.self;
  }
  napi_value gateway = js_get(env, options, "gateway");
  bool owned = js_type(env, gateway) != napi_object;
  std::string error;
  engine::Runtime* runtime =
      owned ? make_runtime(env, e, options, &error) : gateway_runtime(env, gateway);
  if (!runtime) {
    if (owned) throw_error(env, "ERR_MOONPHASE_LUA", error);
    return nullptr;
  }
  VmHost* host = new VmHost(e, runtime, owned);
  if (!host->open(&error)) {
    host->close();
    host->unuse();
    throw_error(env, "ERR_MOONPHASE_LUA", error);
    return nullptr;
  }
  if (bool_option(env, options, "sandbox", false) && !enter_sandbox(host, &error)) {
    host->close();
    host->unuse();
    throw_error(env, "ERR_MOONPHASE_LUA", error);
    return nullptr;
  }
  const double used = heap_bytes(host->L()), limit = number_option(env, options, "memoryLimit", 0);
  if (owned && limit > 0 && used > limit) {
    host->close();
    host->unuse();
    throw_error(env, "ERR_MOONPHASE_OPTION",
                "memoryLimit is " + std::to_string(static_cast<int64_t>(limit)) +
                    " bytes: a VM that has run nothing holds " +
                    std::to_string(static_cast<int64_t>(used)));
    return nullptr;
  }
  std::string strings = text_option(env, options, "strings");
  host->strings = strings == "buffer"   ? Strings::kBuffer
                  : strings == "latin1" ? Strings::kLatin1
                                        : Strings::kAuto;
  napi_wrap(env, args.self, host, finalize, nullptr, nullptr);
  napi_create_reference(env, args.self, 0, &host->self);
  if (!owned) gateway_adopt(env, gateway, host);
  return args.self;
}

bool mode_of(napi_env env, napi_value v, Results* mode) {
  std::string text = text_of(env, v);
  if (text == "all") {
    *mode = Results::kAll;
  } else if (text == "live") {
    *mode = Results::kLive;
  } else if (text == "first") {
    *mode = Results::kFirst;
  } else {
    throw_error(env, "ERR_MOONPHASE_OPTION", "the mode of results is first, all or live");
    return false;
  }
  return true;
}

// load(source, chunkName, mode): a function.
napi_value load(napi_env env, napi_callback_info info) {
  Args<3> args(env, info);
  VmHost* host = host_of(env, args.self);
  Results mode;
  if (!host || !mode_of(env, args[2], &mode)) return nullptr;
  FromJs from(host->env());
  lua_State* L = host->L();
  int top = lua_gettop(L);
  std::string error, name = text_of(env, args[1]);
  if (!push_js(host, L, args[0], &error) || lua_type(L, -1) != LUA_TSTRING) {
    lua_settop(L, top);
    throw_error(env, "ERR_MOONPHASE_OPTION", "the source is a string or a Buffer");
    return nullptr;
  }
  size_t n = 0;
  const char* source = lua_tolstring(L, -1, &n);
  int status = lua::load_source(L, Str(source, n), name.c_str());
  napi_value result = nullptr;
  if (status == 0) {
    result = wrap_function(host, L, lua_gettop(L), mode);
  } else {
    napi_value exception = to_exception(host, L, lua_gettop(L), std::string());
    if (exception) napi_throw(env, exception);
  }
  lua_settop(L, top);
  return result;
}

// withMode(function, mode): the same Lua function with other results.
napi_value with_mode(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  VmHost* host = host_of(env, args.self);
  Results mode;
  if (!host || !mode_of(env, args[1], &mode)) return nullptr;
  LuaRef* ref = js_type(env, args[0]) == napi_function ? unwrap(host, args[0]) : nullptr;
  if (!ref) {
    throw_error(env, "ERR_MOONPHASE_OPTION", "not a Lua function of this VM");
    return nullptr;
  }
  FromJs from(host->env());
  lua_State* L = host->L();
  lua_rawgeti(L, LUA_REGISTRYINDEX, ref->ref);
  napi_value result = wrap_function(host, L, lua_gettop(L), mode);
  lua_pop(L, 1);
  return result;
}

// lastWaiting(): the number of the call that has given a promise last.
napi_value last_waiting(napi_env env, napi_callback_info info) {
  Args<0> args(env, info);
  VmHost* host = host_of(env, args.self);
  return host ? js_number(env, host->last_waiting) : nullptr;
}

// cancel(number, reason): that call ends, its promise rejects.
napi_value cancel(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  VmHost* host = host_of(env, args.self);
  if (!host) return nullptr;
  uint32_t id = 0;
  napi_get_value_uint32(env, args[0], &id);
  FromJs from(host->env());
  cancel_call(host, id, args[1]);
  return nullptr;
}

// memory(): bytes that Lua uses.
napi_value memory(napi_env env, napi_callback_info info) {
  Args<0> args(env, info);
  VmHost* host = host_of(env, args.self);
  if (!host) return nullptr;
  return js_number(env, heap_bytes(host->L()));
}

napi_value close(napi_env env, napi_callback_info info) {
  Args<0> args(env, info);
  void* data = nullptr;
  if (napi_unwrap(env, args.self, &data) != napi_ok || !data) return nullptr;
  VmHost* host = static_cast<VmHost*>(data);
  if (host->closed()) return nullptr;
  FromJs from(host->env());
  host->close();
  return nullptr;
}

}  // namespace

void define_luavm(napi_env env, napi_value exports) {
  const napi_property_descriptor methods[] = {
      method("load", load),   method("withMode", with_mode),       method("memory", memory),
      method("close", close), method("lastWaiting", last_waiting), method("cancel", cancel)};
  napi_value constructor = nullptr;
  napi_define_class(env, "LuaVM", NAPI_AUTO_LENGTH, construct, nullptr,
                    sizeof methods / sizeof *methods, methods, &constructor);
  napi_create_reference(env, constructor, 1, &Env::of(env)->luavm_class);
  js_set(env, exports, "LuaVM", constructor);
}

}  // namespace moonphase::bind
