#include "bind/env.h"

#include <cstdlib>

#include "base/log.h"
#include "bind/js_call.h"
#include "net/handle.h"

namespace moonphase::bind {

namespace {
// Handles that were closed in one turn are gone in the next; what frees itself after a turn may
// close further ones.
constexpr int kTurnsToClose = 3;
}  // namespace

namespace {
thread_local Env* t_env = nullptr;
}

Env* Env::current() { return t_env; }

Resource::Resource(Env* env) : env_(env), next_(env->resources_), link_(&env->resources_) {
  if (next_) next_->link_ = &next_;
  env->resources_ = this;
}

Resource::~Resource() {
  if (!link_) return;
  *link_ = next_;
  if (next_) next_->link_ = link_;
}

Env* Env::of(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return static_cast<Env*>(data);
}

Env* Env::init(napi_env napi) {
  uv_loop_t* uv = nullptr;
  if (napi_get_uv_event_loop(napi, &uv) != napi_ok) return nullptr;
  Env* env = new Env(napi);
  env->loop_ = new net::Loop(uv);
  env->loop_->ref(false);
  net::set_current_loop(env->loop_);
  t_env = env;
  // Finalizers of wrapped objects run before this one.
  napi_set_instance_data(
      napi, env, [](napi_env, void* data, void*) { delete static_cast<Env*>(data); }, nullptr);
  napi_value name;
  napi_create_string_utf8(napi, "Moonphase", NAPI_AUTO_LENGTH, &name);
  napi_async_init(napi, nullptr, name, &env->context);
  napi_add_async_cleanup_hook(napi, on_cleanup, env, &env->hook_);
  return env;
}

void Env::hold() {
  if (++holds_ == 1) loop_->ref(true);
}

void Env::unhold() {
  if (--holds_ == 0 && loop_) loop_->ref(false);
}

void Env::set_closing() {
  if (closing_) return;
  closing_ = true;
  // Lua code that needs JavaScript ends with an error now, and nothing has gone wrong.
  set_log_tap([](int, Str line, void*) { return line.find(kGone) != Str::npos; }, nullptr);
}

void Env::on_cleanup(napi_async_cleanup_hook_handle, void* data) {
  static_cast<Env*>(data)->close();
}

void Env::close() {
  set_closing();
  {
    net::Loop::Scope scope(*loop_);
    while (Resource* r = resources_) {
      resources_ = r->next_;
      if (resources_) resources_->link_ = &resources_;
      r->link_ = nullptr;
      r->next_ = nullptr;
      r->env_closing();
    }
  }
  uv_timer_init(loop_->uv(), &turns_);
  turns_.data = this;
  turns_left_ = kTurnsToClose;
  uv_timer_start(&turns_, on_turn, 0, 0);
}

void Env::on_turn(uv_timer_t* timer) {
  Env* env = static_cast<Env*>(timer->data);
  if (--env->turns_left_ > 0) {
    if (env->turns_left_ == 1) {
      net::set_current_loop(nullptr);
      t_env = nullptr;
      delete env->loop_;
      env->loop_ = nullptr;
    }
    uv_timer_start(timer, on_turn, 0, 0);
    return;
  }
  net::close_handle(
      reinterpret_cast<uv_handle_t*>(timer),
      [](void* data) { napi_remove_async_cleanup_hook(static_cast<Env*>(data)->hook_); }, env);
}

}  // namespace moonphase::bind
