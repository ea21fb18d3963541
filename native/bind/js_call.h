// The way into JavaScript from native code. There are two situations:
//  - JavaScript called us (env->js_depth > 0): functions are called plainly, promises settle when
//  it returns to the loop;
//  - the loop called us: the first entry of the turn opens one callback scope, which is closed when
//  the native frames of
//    the turn are gone; then nextTick and promise jobs run, never in the middle of a Lua call.
#pragma once

#include "bind/env.h"

namespace moonphase::bind {

// The error that Lua code gets then; a thread that is being terminated does not log it.
constexpr const char* kGone = "JavaScript does not run any more";

// Stands around everything that makes or touches JavaScript values. Cheap when JavaScript called
// us.
class IntoJs {
 public:
  explicit IntoJs(Env* env);
  ~IntoJs();
  IntoJs(const IntoJs&) = delete;
  IntoJs& operator=(const IntoJs&) = delete;
  // False: the env is going away, JavaScript cannot be used.
  bool ok() const { return scope_ != nullptr; }

 private:
  Env* env_;
  napi_handle_scope scope_ = nullptr;
};

// Calls `fn` (within an IntoJs). `context`: whose AsyncLocalStorage it sees; null: the caller's, or
// the env's own. False: it threw, and the exception is in *result.
bool call_js(Env* env, napi_async_context context, napi_value recv, napi_value fn, size_t argc,
             const napi_value* argv, napi_value* result);

// An async context that belongs to what runs now; null when that cannot be had.
napi_async_context make_context(Env* env, const char* name);
void free_context(Env* env, napi_async_context context);

}  // namespace moonphase::bind
