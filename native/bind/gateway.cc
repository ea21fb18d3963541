#include "bind/gateway.h"

#include <vector>

#include "bind/door.h"
#include "bind/js_call.h"
#include "bind/js_error.h"
#include "bind/js_handler.h"
#include "bind/luavm.h"
#include "bind/napi_util.h"
#include "bind/plan_reader.h"
#include "bind/process.h"

namespace moonphase::bind {

namespace {

class Gateway final : public Resource {
 public:
  Gateway(Env* env, engine::RuntimeOptions options, std::string user, std::string group)
      : Resource(env), user_(std::move(user)), group_(std::move(group)) {
    if (!user_.empty()) {
      options.before_init_worker = before_init_worker;
      options.before_init_worker_data = this;
    }
    runtime_ = new engine::Runtime(env->loop(), std::move(options));
    runtime_->bind_data = this;
  }
  ~Gateway() override = default;

  Env* env() const { return env_; }
  engine::Runtime* runtime() const { return runtime_; }
  // Set while the runtime works for JavaScript: the object must not be collected.
  void keep(napi_value self) {
    if (!self_) {
      napi_create_reference(env_->napi(), self, 1, &self_);
      env_->hold();
    }
  }
  void let_go() {
    if (!self_) return;
    if (!env_->closing()) napi_delete_reference(env_->napi(), self_);
    self_ = nullptr;
    env_->unhold();
  }
  // Ends the runtime, after the turn.
  void end() {
    if (!runtime_) return;
    for (VmHost* host : hosts_) {
      host->close();
      host->release();
    }
    hosts_.clear();
    engine::Runtime* runtime = runtime_;
    runtime_ = nullptr;
    runtime->dispose();
    if (door_) door_->close();
    let_go();
  }
  void env_closing() override { end(); }
  const std::shared_ptr<Door>& door() {
    if (!door_) door_ = std::make_shared<Door>(env_, runtime_);
    return door_;
  }
  void adopt(VmHost* host) {
    host->retain();
    hosts_.push_back(host);
  }

  // A promise of JavaScript that one of our callbacks settles.
  napi_value promise(napi_deferred* slot) {
    napi_value p = nullptr;
    napi_create_promise(env_->napi(), slot, &p);
    return p;
  }
  void settle(napi_deferred* slot, const char* code, const std::string* message) {
    napi_deferred deferred = *slot;
    *slot = nullptr;
    if (!deferred || env_->closing()) return;
    IntoJs js(env_);
    if (!js.ok()) return;
    napi_env env = env_->napi();
    if (!message) {
      napi_resolve_deferred(env, deferred, js_undefined(env));
      return;
    }
    napi_reject_deferred(env, deferred, make_error(env, code, *message));
  }
  static void on_loaded(void* data, bool ok, Str message) {
    Gateway* self = static_cast<Gateway*>(data);
    std::string text(message);
    self->settle(&self->loading, "ERR_MOONPHASE_START", ok ? nullptr : &text);
  }
  static void on_quit(void* data) {
    Gateway* self = static_cast<Gateway*>(data);
    self->settle(&self->quitting, "", nullptr);
    self->end();
  }

  napi_deferred loading = nullptr, quitting = nullptr;

 private:
  static bool before_init_worker(void* data, std::string* error) {
    Gateway* self = static_cast<Gateway*>(data);
    return drop_privileges(self->user_, self->group_, error);
  }

  std::string user_, group_;
  engine::Runtime* runtime_ = nullptr;
  std::vector<VmHost*> hosts_;
  std::shared_ptr<Door> door_;
  napi_ref self_ = nullptr;
};

// Null: an exception is pending.
Gateway* gateway_of(napi_env env, napi_value self) {
  void* data = nullptr;
  if (napi_unwrap(env, self, &data) != napi_ok || !data) {
    throw_error(env, "ERR_MOONPHASE_OPTION", "not a gateway");
    return nullptr;
  }
  Gateway* g = static_cast<Gateway*>(data);
  if (g->runtime()) return g;
  throw_error(env, "ERR_MOONPHASE_CLOSED", "this gateway has ended");
  return nullptr;
}

void finalize(napi_env, void* data, void*) {
  Gateway* g = static_cast<Gateway*>(data);
  if (g->runtime() && !g->env()->closing()) {
    net::Loop::Scope scope(*g->env()->loop());
    g->end();
  }
  delete g;
}

napi_value construct(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  napi_value o = args[0];
  engine::RuntimeOptions options;
  options.lualib = text_option(env, o, "lualib");
  options.user_lualib = text_option(env, o, "userLualib");
  options.process_type =
      static_cast<engine::ProcessType>(static_cast<int>(number_option(env, o, "processType", 0)));
  options.worker_id = static_cast<int>(number_option(env, o, "workerId", 0));
  options.worker_count = static_cast<int>(number_option(env, o, "workerCount", 1));
  options.master_pid = static_cast<int>(number_option(env, o, "masterPid", 0));
  options.embedded = bool_option(env, o, "embedded", true);
  options.respawned = bool_option(env, o, "respawned", false);
  options.test = bool_option(env, o, "test", false);
  std::string version = text_option(env, o, "serverVersion");
  if (!version.empty()) options.server_version = version;
  options.zone_space = text_option(env, o, "zoneSpace");
  options.zones_by_name = bool_option(env, o, "zonesByName", false);
  options.zones_kept = bool_option(env, o, "zonesKept", false);
  napi_value zones = js_get(env, o, "zones");
  uint32_t count = 0;
  if (js_type(env, zones) == napi_object) napi_get_array_length(env, zones, &count);
  for (uint32_t i = 0; i < count; ++i) {
    napi_value zone = nullptr;
    napi_get_element(env, zones, i, &zone);
    options.zone_fds[bytes_of(env, js_get(env, zone, "name"))] =
        static_cast<int>(number_option(env, zone, "fd", -1));
  }
  options.stats_fd = static_cast<int>(number_option(env, o, "stats", -1));
  Env* e = Env::of(env);
  FromJs from(e);
  Gateway* g = new Gateway(e, std::move(options), bytes_of(env, js_get(env, o, "user")),
                           bytes_of(env, js_get(env, o, "group")));
  napi_wrap(env, args.self, g, finalize, nullptr, nullptr);
  return args.self;
}

// load(plan, functions): a promise. Reads the plan, makes its VM, runs init_by_lua and
// init_worker_by_lua; the plan is current then.
napi_value load(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  Gateway* g = gateway_of(env, args.self);
  if (!g) return nullptr;
  if (g->loading) {
    throw_error(env, "ERR_MOONPHASE_START", "another plan is being loaded");
    return nullptr;
  }
  FromJs from(g->env());
  std::string error;
  std::unique_ptr<engine::Plan> plan = read_plan(env, args[0], &error);
  napi_value promise = g->promise(&g->loading);
  if (!plan) {
    g->settle(&g->loading, "ERR_MOONPHASE_CONFIG", &error);
    return promise;
  }
  plan->js = keep_handlers(g->env(), args[1]);
  g->keep(args.self);
  g->runtime()->load(std::move(plan), Gateway::on_loaded, g);
  return promise;
}

// listen(descriptors): one for each address of the plan; -1 opens it here. Throws when that fails.
napi_value listen(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  Gateway* g = gateway_of(env, args.self);
  if (!g) return nullptr;
  FromJs from(g->env());
  std::vector<int> fds;
  uint32_t n = 0;
  if (js_type(env, args[0]) == napi_object) napi_get_array_length(env, args[0], &n);
  for (uint32_t i = 0; i < n; ++i) {
    napi_value item = nullptr;
    int32_t fd = -1;
    napi_get_element(env, args[0], i, &item);
    napi_get_value_int32(env, item, &fd);
    fds.push_back(fd);
  }
  std::string error;
  if (!g->runtime()->listen(fds, &error)) throw_error(env, "ERR_MOONPHASE_LISTEN", error);
  return nullptr;
}

napi_value stop_listening(napi_env env, napi_callback_info info) {
  Args<0> args(env, info);
  if (Gateway* g = gateway_of(env, args.self)) {
    FromJs from(g->env());
    g->runtime()->stop_listening();
  }
  return nullptr;
}

// quit(): a promise; nothing is accepted any more, what runs may finish.
napi_value quit(napi_env env, napi_callback_info info) {
  Args<0> args(env, info);
  Gateway* g = gateway_of(env, args.self);
  if (!g) return nullptr;
  if (g->quitting) {
    throw_error(env, "ERR_MOONPHASE_CLOSED", "this gateway is ending");
    return nullptr;
  }
  FromJs from(g->env());
  napi_value promise = g->promise(&g->quitting);
  g->runtime()->quit(Gateway::on_quit, g);
  return promise;
}

// terminate(): at once, or when what has called JavaScript, maybe for one of its requests, has
// returned.
napi_value terminate(napi_env env, napi_callback_info info) {
  Args<0> args(env, info);
  if (Gateway* g = gateway_of(env, args.self)) {
    FromJs from(g->env());
    g->settle(&g->quitting, "", nullptr);
    g->keep(args.self);
    g->env()->loop()->defer_free([](void* self) { static_cast<Gateway*>(self)->end(); }, g);
  }
  return nullptr;
}

napi_value reopen_logs(napi_env env, napi_callback_info info) {
  Args<0> args(env, info);
  if (Gateway* g = gateway_of(env, args.self)) {
    FromJs from(g->env());
    g->runtime()->reopen_logs();
  }
  return nullptr;
}

napi_value stats(napi_env env, napi_callback_info info) {
  Args<0> args(env, info);
  Gateway* g = gateway_of(env, args.self);
  if (!g) return nullptr;
  const http::Stats& s = g->runtime()->http.stats;
  napi_value result = nullptr;
  napi_create_object(env, &result);
  auto set = [&](const char* name, int64_t n) {
    js_set(env, result, name, js_number(env, static_cast<double>(n)));
  };
  set("accepted", s.accepted);
  set("handled", s.handled);
  set("requests", s.requests);
  set("active", s.active);
  set("reading", s.reading);
  set("writing", s.writing);
  set("waiting", s.waiting);
  return result;
}

// privilegedAgent(): how many connections init_by_lua wants a privileged agent to have; undefined:
// none.
napi_value privileged_agent(napi_env env, napi_callback_info info) {
  Args<0> args(env, info);
  Gateway* g = gateway_of(env, args.self);
  if (!g) return nullptr;
  int n = g->runtime()->privileged_agent;
  return n < 0 ? js_undefined(env) : js_number(env, n);
}

// door(callback): what brings in the requests of Node's own servers, and their answers to
// `callback`.
napi_value door(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  Gateway* g = gateway_of(env, args.self);
  if (!g) return nullptr;
  g->door()->set_callback(args[0]);
  return door_object(env, g->door());
}

}  // namespace

engine::Runtime* gateway_runtime(napi_env env, napi_value gateway) {
  Gateway* g = gateway_of(env, gateway);
  return g ? g->runtime() : nullptr;
}

void gateway_adopt(napi_env env, napi_value gateway, VmHost* host) {
  gateway_of(env, gateway)->adopt(host);
}

void define_gateway(napi_env env, napi_value exports) {
  std::vector<napi_property_descriptor> methods = {
      method("load", load),           method("listen", listen),
      method("quit", quit),           method("stopListening", stop_listening),
      method("terminate", terminate), method("reopenLogs", reopen_logs),
      method("stats", stats),         method("privilegedAgent", privileged_agent),
      method("door", door),
  };
  napi_value constructor = nullptr;
  napi_define_class(env, "Gateway", NAPI_AUTO_LENGTH, construct, nullptr, methods.size(),
                    methods.data(), &constructor);
  js_set(env, exports, "Gateway", constructor);
}

}  // namespace moonphase::bind
