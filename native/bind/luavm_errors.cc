// Errors that cross between the languages. Where one of them was thrown by the other side, it goes
// home as itself.
#include "bind/js_call.h"
#include "bind/luavm.h"
#include "bind/napi_util.h"

namespace moonphase::bind {

namespace {

void set_text(lua_State* L, const char* field, const std::string& text) {
  lua_pushlstring(L, text.data(), text.size());
  lua_setfield(L, -2, field);
}

// A property as text, without running into getters that throw.
std::string property(napi_env env, napi_value object, const char* name) {
  napi_value v = nullptr;
  if (napi_get_named_property(env, object, name, &v) != napi_ok) {
    napi_get_and_clear_last_exception(env, &v);
    return {};
  }
  return text_of(env, v);
}

std::string primitive_text(napi_env env, napi_value v) {
  if (js_type(env, v) == napi_symbol) return "a symbol";  // which has no text without a call
  napi_value text = nullptr;
  return napi_coerce_to_string(env, v, &text) == napi_ok ? text_of(env, text) : std::string();
}

}  // namespace

void push_exception(VmHost* host, lua_State* L, napi_value exception) {
  napi_env env = host->napi();
  napi_valuetype type = js_type(env, exception);
  if (type == napi_object) {
    // An error of this VM's Lua that JavaScript let through: Lua sees what it threw.
    bool is_lua = false;
    napi_value value = nullptr;
    std::string ignored;
    if (napi_has_named_property(env, exception, "luaValue", &is_lua) == napi_ok && is_lua &&
        napi_get_named_property(env, exception, "luaValue", &value) == napi_ok &&
        push_js(host, L, value, &ignored)) {
      return;
    }
  }
  lua_createtable(L, 0, 5);
  if (type == napi_object || type == napi_function) {
    std::string name = property(env, exception, "name");
    set_text(L, "name", name.empty() ? "Error" : name);
    set_text(L, "message", property(env, exception, "message"));
    std::string code = property(env, exception, "code");
    if (!code.empty()) set_text(L, "code", code);
    set_text(L, "stack", property(env, exception, "stack"));
  } else {
    set_text(L, "name", "Error");
    const std::string text = primitive_text(env, exception);
    set_text(L, "message", text);
    set_text(L, "stack", "Error: " + text);
  }
  napi_value box = nullptr;
  napi_create_object(env, &box);
  js_set(env, box, "v", exception);
  push_js_ref(host, L, box);
  lua_setfield(L, -2, "error");
  lua_rawgeti(L, LUA_REGISTRYINDEX, host->js_error_ref);
  lua_setmetatable(L, -2);
}

napi_value to_exception(VmHost* host, lua_State* L, int index, const std::string& traceback) {
  napi_env env = host->napi();
  if (lua_type(L, index) == LUA_TTABLE) {
    lua_pushliteral(L, "error");
    lua_rawget(L, index);
    JsRef* ref = js_ref(L, lua_gettop(L));
    napi_value box = nullptr;
    bool found = ref && napi_get_reference_value(env, ref->ref, &box) == napi_ok && box;
    lua_pop(L, 1);
    if (found) {
      napi_value exception = js_get(env, box, "v");
      if (!traceback.empty() && js_type(env, exception) == napi_object) {
        napi_property_descriptor p = {
            "luaStack",          nullptr, nullptr, nullptr, nullptr, js_string(env, traceback),
            napi_default_method, nullptr};
        napi_define_properties(env, exception, 1, &p);
        napi_value ignored;
        bool pending = false;
        if (napi_is_exception_pending(env, &pending) == napi_ok && pending) {
          napi_get_and_clear_last_exception(env, &ignored);
        }
      }
      return exception;
    }
  }
  std::string message, ignored;
  if (lua_type(L, index) == LUA_TSTRING || lua_type(L, index) == LUA_TNUMBER) {
    lua_pushvalue(L, index);
    size_t n = 0;
    const char* s = lua_tolstring(L, -1, &n);
    message.assign(s, n);
    lua_pop(L, 1);
  } else {
    message = std::string("an error object (a ") + luaL_typename(L, index) + " value)";
  }
  napi_value args[4] = {js_string(env, message), js_string(env, traceback),
                        to_js(host, L, index, &ignored),
                        js_boolean(env, lua_type(L, index) == LUA_TSTRING)};
  if (!args[2]) args[2] = js_undefined(env);
  napi_value make = nullptr, error = nullptr;
  napi_get_reference_value(env, host->env()->make_error, &make);
  call_js(host->env(), nullptr, nullptr, make, 4, args, &error);
  return error;
}

}  // namespace moonphase::bind
