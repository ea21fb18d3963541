#include "bind/js_error.h"

#include "bind/env.h"
#include "bind/napi_util.h"

namespace moonphase::bind {

napi_value make_error(napi_env env, const char* code, Str message) {
  napi_value made = nullptr, make = nullptr, receiver = js_undefined(env);
  napi_value args[2] = {js_string(env, code), js_string(env, message)};
  Env* e = Env::of(env);
  if (e && e->make_coded && napi_get_reference_value(env, e->make_coded, &make) == napi_ok &&
      napi_call_function(env, receiver, make, 2, args, &made) == napi_ok) {
    return made;
  }
  // Before setup(), or when JavaScript cannot run any more.
  napi_create_error(env, args[0], args[1], &made);
  return made;
}

void throw_error(napi_env env, const char* code, Str message) {
  napi_throw(env, make_error(env, code, message));
}

}  // namespace moonphase::bind
