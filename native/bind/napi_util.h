// Short forms of Node-API. Failures of these calls mean that the env is going away; values are then
// undefined.
#pragma once

#include <node_api.h>

#include <string>

#include "base/types.h"

namespace moonphase::bind {

inline napi_value js_undefined(napi_env env) {
  napi_value v = nullptr;
  napi_get_undefined(env, &v);
  return v;
}

inline napi_value js_string(napi_env env, Str s) {
  napi_value v = nullptr;
  napi_create_string_utf8(env, s.data(), s.size(), &v);
  return v;
}

// One character per byte.
inline napi_value js_latin1(napi_env env, Str s) {
  napi_value v = nullptr;
  napi_create_string_latin1(env, s.data(), s.size(), &v);
  return v;
}

inline napi_value js_number(napi_env env, double n) {
  napi_value v = nullptr;
  napi_create_double(env, n, &v);
  return v;
}

inline napi_value js_boolean(napi_env env, bool b) {
  napi_value v = nullptr;
  napi_get_boolean(env, b, &v);
  return v;
}

inline napi_valuetype js_type(napi_env env, napi_value v) {
  napi_valuetype t = napi_undefined;
  if (v) napi_typeof(env, v, &t);
  return t;
}

inline napi_value js_get(napi_env env, napi_value object, const char* name) {
  napi_value v = nullptr;
  if (napi_get_named_property(env, object, name, &v) != napi_ok) return js_undefined(env);
  return v;
}

inline void js_set(napi_env env, napi_value object, const char* name, napi_value value) {
  napi_set_named_property(env, object, name, value);
}

// Text of a JavaScript string in UTF-8; empty for other values.
std::string text_of(napi_env env, napi_value v);
// A latin1 string's characters as bytes.
std::string bytes_of(napi_env env, napi_value v);
inline std::string text_option(napi_env env, napi_value object, const char* name) {
  return text_of(env, js_get(env, object, name));
}
double number_option(napi_env env, napi_value object, const char* name, double fallback);
bool bool_option(napi_env env, napi_value object, const char* name, bool fallback);

// The arguments of a native function, `this` and the data it was made with.
template <size_t N>
struct Args {
  Args(napi_env e, napi_callback_info info) : env(e) {
    napi_get_cb_info(e, info, &count, v, &self, &data);
  }
  napi_value operator[](size_t i) const { return v[i]; }
  napi_env env;
  size_t count = N;
  napi_value v[N > 0 ? N : 1];
  napi_value self = nullptr;
  void* data = nullptr;
};

napi_property_descriptor method(const char* name, napi_callback fn);
void add_function(napi_env env, napi_value object, const char* name, napi_callback fn);

}  // namespace moonphase::bind
