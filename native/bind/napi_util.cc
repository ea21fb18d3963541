#include "bind/napi_util.h"

namespace moonphase::bind {

std::string text_of(napi_env env, napi_value v) {
  size_t n = 0;
  if (js_type(env, v) != napi_string ||
      napi_get_value_string_utf8(env, v, nullptr, 0, &n) != napi_ok)
    return {};
  std::string s(n, '\0');
  napi_get_value_string_utf8(env, v, s.data(), n + 1, &n);
  return s;
}

std::string bytes_of(napi_env env, napi_value v) {
  size_t n = 0;
  if (js_type(env, v) != napi_string ||
      napi_get_value_string_latin1(env, v, nullptr, 0, &n) != napi_ok)
    return {};
  std::string s(n, '\0');
  napi_get_value_string_latin1(env, v, s.data(), n + 1, &n);
  return s;
}

double number_option(napi_env env, napi_value object, const char* name, double fallback) {
  napi_value v = js_get(env, object, name);
  double n = fallback;
  return js_type(env, v) == napi_number && napi_get_value_double(env, v, &n) == napi_ok ? n
                                                                                        : fallback;
}

bool bool_option(napi_env env, napi_value object, const char* name, bool fallback) {
  napi_value v = js_get(env, object, name);
  bool b = fallback;
  return js_type(env, v) == napi_boolean && napi_get_value_bool(env, v, &b) == napi_ok ? b
                                                                                       : fallback;
}

napi_property_descriptor method(const char* name, napi_callback fn) {
  return {name, nullptr, fn, nullptr, nullptr, nullptr, napi_default_method, nullptr};
}

void add_function(napi_env env, napi_value object, const char* name, napi_callback fn) {
  napi_value f;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, fn, nullptr, &f) == napi_ok)
    js_set(env, object, name, f);
}

}  // namespace moonphase::bind
