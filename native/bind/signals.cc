#include "bind/signals.h"

#include <signal.h>

#include <atomic>
#include <cerrno>

#include "bind/js_call.h"
#include "bind/js_error.h"
#include "bind/napi_util.h"
#include "net/handle.h"

namespace moonphase::bind {

namespace {

struct Name {
  const char* name;
  int number;
};
constexpr Name kNames[] = {{"SIGTERM", SIGTERM},  {"SIGINT", SIGINT},   {"SIGQUIT", SIGQUIT},
                           {"SIGHUP", SIGHUP},    {"SIGUSR1", SIGUSR1}, {"SIGUSR2", SIGUSR2},
                           {"SIGWINCH", SIGWINCH}};

// Signals are the process's: one watcher, of the env that asked first.
std::atomic<uint32_t> pending{0};
std::atomic<uv_async_t*> wakeup{nullptr};
std::atomic<int> senders[32];

void on_signal(int number, siginfo_t* info, void*) {
  int saved = errno;
  senders[number].store(info && info->si_code <= 0 ? info->si_pid : 0);
  pending.fetch_or(1u << number);
  if (uv_async_t* async = wakeup.load()) uv_async_send(async);
  errno = saved;
}

// nginx catches these as well; they mean nothing to it.
constexpr int kIgnored[] = {SIGALRM, SIGIO};

void catch_signal(int number, bool restart) {
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = (restart ? SA_RESTART : 0) | SA_SIGINFO;
  sigfillset(&action.sa_mask);
  sigaction(number, &action, nullptr);
}

class Watcher final : public Resource {
 public:
  Watcher(Env* env, napi_value callback) : Resource(env) {
    napi_create_reference(env->napi(), callback, 1, &callback_);
    uv_async_init(env->loop()->uv(), &async_, on_wakeup);
    async_.data = this;
    uv_unref(reinterpret_cast<uv_handle_t*>(&async_));
    wakeup.store(&async_);
    if (pending.load() != 0) uv_async_send(&async_);
  }
  void env_closing() override {
    wakeup.store(nullptr);
    net::close_handle(
        reinterpret_cast<uv_handle_t*>(&async_),
        [](void* data) { delete static_cast<Watcher*>(data); }, this);
  }

 private:
  ~Watcher() override = default;
  static void on_wakeup(uv_async_t* async) {
    Watcher* self = static_cast<Watcher*>(async->data);
    uint32_t bits = pending.exchange(0);
    net::Loop::Scope scope(*self->env_->loop());
    for (const Name& n : kNames) {
      if (bits & (1u << n.number)) self->tell(n);
    }
  }
  void tell(const Name& name) {
    IntoJs js(env_);
    if (!js.ok()) return;
    napi_env env = env_->napi();
    napi_value callback = nullptr, result = nullptr;
    napi_value args[] = {js_string(env, name.name), js_number(env, name.number),
                         js_number(env, senders[name.number].load())};
    napi_get_reference_value(env, callback_, &callback);
    if (!call_js(env_, nullptr, nullptr, callback, 3, args, &result) && result)
      napi_fatal_exception(env, result);
  }

  napi_ref callback_ = nullptr;
  uv_async_t async_{};
};

// catchSignals(restart = true): from now on they are remembered; `restart`: system calls that they
// interrupt go on.
napi_value catch_signals(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  bool restart = true;
  if (args.count > 0) napi_get_value_bool(env, args[0], &restart);
  for (const Name& n : kNames) catch_signal(n.number, restart);
  for (int number : kIgnored) catch_signal(number, restart);
  return js_undefined(env);
}

// watchSignals(callback): it is called with name, number and sender (0: unknown) of each, also of
// those that came since catchSignals().
napi_value watch_signals(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  if (wakeup.load()) {
    throw_error(env, "ERR_MOONPHASE_OPTION", "the process's signals are watched already");
    return nullptr;
  }
  new Watcher(Env::of(env), args[0]);
  return js_undefined(env);
}

}  // namespace

void define_signals(napi_env env, napi_value exports) {
  add_function(env, exports, "catchSignals", catch_signals);
  add_function(env, exports, "watchSignals", watch_signals);
}

}  // namespace moonphase::bind
