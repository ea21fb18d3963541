#include "bind/js_call.h"

namespace moonphase::bind {

namespace {

void end_turn(void* data) {
  Env* env = static_cast<Env*>(data);
  napi_callback_scope scope = env->turn_scope;
  napi_handle_scope handles = env->turn_handles;
  env->turn_scope = nullptr;
  env->turn_handles = nullptr;
  // Runs nextTick and promise jobs, which may call us again.
  if (scope) napi_close_callback_scope(env->napi(), scope);
  if (handles) napi_close_handle_scope(env->napi(), handles);
}

void begin_turn(Env* env) {
  if (napi_open_handle_scope(env->napi(), &env->turn_handles) != napi_ok) return;
  napi_value resource;
  napi_create_object(env->napi(), &resource);
  if (napi_open_callback_scope(env->napi(), resource, env->context, &env->turn_scope) != napi_ok) {
    env->turn_scope = nullptr;
  }
  env->turn_end.fn = end_turn;
  env->turn_end.data = env;
  env->loop()->post(&env->turn_end);
}

}  // namespace

IntoJs::IntoJs(Env* env) : env_(env) {
  if (env->closing()) return;
  if (env->js_depth == 0 && !env->turn_handles) begin_turn(env);
  if (napi_open_handle_scope(env->napi(), &scope_) != napi_ok) scope_ = nullptr;
}

IntoJs::~IntoJs() {
  if (scope_) napi_close_handle_scope(env_->napi(), scope_);
}

namespace {

bool runs(napi_env napi) {
  napi_value none = nullptr, text = nullptr;
  return napi_get_undefined(napi, &none) == napi_ok &&
         napi_coerce_to_string(napi, none, &text) == napi_ok;
}

}  // namespace

bool call_js(Env* env, napi_async_context context, napi_value recv, napi_value fn, size_t argc,
             const napi_value* argv, napi_value* result) {
  napi_env napi = env->napi();
  napi_status status;
  if (context || env->js_depth == 0) {
    napi_value object = recv;
    napi_valuetype type = napi_undefined;
    if (recv) napi_typeof(napi, recv, &type);
    if (type != napi_object && type != napi_function) napi_get_global(napi, &object);
    status =
        napi_make_callback(napi, context ? context : env->context, object, fn, argc, argv, result);
  } else {
    if (!recv) napi_get_undefined(napi, &recv);
    status = napi_call_function(napi, recv, fn, argc, argv, result);
  }
  if (status == napi_ok) return true;
  bool pending = false;
  napi_is_exception_pending(napi, &pending);
  if (pending && napi_get_and_clear_last_exception(napi, result) == napi_ok && runs(napi))
    return false;
  // JavaScript does not run any more: the thread is being terminated. What was thrown, if anything,
  // is only what ends it.
  env->set_closing();
  *result = nullptr;
  return false;
}

napi_async_context make_context(Env* env, const char* name) {
  napi_value text;
  napi_async_context context = nullptr;
  if (env->closing() ||
      napi_create_string_utf8(env->napi(), name, NAPI_AUTO_LENGTH, &text) != napi_ok)
    return nullptr;
  if (napi_async_init(env->napi(), nullptr, text, &context) != napi_ok) return nullptr;
  return context;
}

void free_context(Env* env, napi_async_context context) {
  if (context) napi_async_destroy(env->napi(), context);
}

}  // namespace moonphase::bind
