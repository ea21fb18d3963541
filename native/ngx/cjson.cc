// The modules cjson and cjson.safe: functions and settings.
#include "ngx/cjson.h"

#include <climits>

#include "lua/call.h"
#include "ngx/api.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

namespace cjson {

namespace {

const char kArray = 0, kEmptyArray = 0;
constexpr char kMetatable[] = "moonphase.cjson.config";
constexpr size_t kKeptBuffer = 1 << 20;  // a larger one is given back after use

// LuaJIT's light userdata have 47 bits.
void* light(const char* p) {
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(p) & ((uintptr_t{1} << 47) - 1));
}

Config* config_of(lua_State* L) {
  return static_cast<Config*>(lua_touserdata(L, lua_upvalueindex(1)));
}

// Settings are read by a call without arguments; missing ones are nil.
Config* setter(lua_State* L, int args) {
  luaL_argcheck(L, lua_gettop(L) <= args, args + 1, "found too many arguments");
  lua_settop(L, args);
  return config_of(L);
}

int int_setting(lua_State* L, int index, int* value, int min, int max) {
  if (!lua_isnil(L, index)) {
    int n = static_cast<int>(luaL_checkinteger(L, index));
    char message[64];
    snprintf(message, sizeof message, "expected integer between %d and %d", min, max);
    luaL_argcheck(L, min <= n && n <= max, 1, message);
    *value = n;
  }
  lua_pushinteger(L, *value);
  return 1;
}

// A boolean, "off" or "on", and with `third` one more word.
int word_setting(lua_State* L, int index, int* value, const char* third = nullptr) {
  const char* const words[] = {"off", "on", third, nullptr};
  if (!lua_isnil(L, index)) {
    *value = lua_isboolean(L, index) ? lua_toboolean(L, index)
                                     : luaL_checkoption(L, index, nullptr, words);
  }
  if (*value <= 1) {
    lua_pushboolean(L, *value);
  } else {
    lua_pushstring(L, words[*value]);
  }
  return 1;
}

template <int Config::*field, int min, int max>
int int_function(lua_State* L) {
  return int_setting(L, 1, &(setter(L, 1)->*field), min, max);
}
template <int Config::*field>
int word_function(lua_State* L) {
  return word_setting(L, 1, &(setter(L, 1)->*field));
}

int encode_invalid_numbers(lua_State* L) {
  return word_setting(L, 1, &setter(L, 1)->encode_invalid_numbers, "null");
}

int encode_keep_buffer(lua_State* L) {
  Config* c = setter(L, 1);
  word_setting(L, 1, &c->encode_keep_buffer);
  if (!c->encode_keep_buffer) std::string().swap(c->buffer);
  return 1;
}

int encode_sparse_array(lua_State* L) {
  Config* c = setter(L, 3);
  word_setting(L, 1, &c->encode_sparse_convert);
  int_setting(L, 2, &c->encode_sparse_ratio, 0, INT_MAX);
  int_setting(L, 3, &c->encode_sparse_safe, 0, INT_MAX);
  return 3;
}

int encode_indent(lua_State* L) {
  Config* c = setter(L, 1);
  if (!lua_isnil(L, 1)) c->encode_indent = check_str(L, 1);
  push_str(L, c->encode_indent);
  return 1;
}

int encode_function(lua_State* L) {
  Config* c = config_of(L);
  luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
  // Taken out of the configuration: a metamethod may encode something else meanwhile.
  std::string text = std::move(c->buffer);
  text.clear();
  encode(L, *c, &text);
  push_str(L, text);
  if (c->encode_keep_buffer && text.capacity() <= kKeptBuffer) c->buffer = std::move(text);
  return 1;
}

int decode_function(lua_State* L) {
  luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
  Str text = check_str(L, 1);
  if (text.size() >= 2 && (!text[0] || !text[1])) {
    return luaL_error(L, "JSON parser does not support UTF-16 or UTF-32");
  }
  decode(L, *config_of(L), text);
  return 1;
}

// cjson.safe: upvalue 1 is the raising function.
int protected_function(lua_State* L) {
  luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  int rc = lua::protected_call(L, 1, 1, false);
  if (rc == 0) return 1;
  if (rc != LUA_ERRRUN) return luaL_error(L, "Memory allocation error in CJSON protected call");
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

int destroy_config(lua_State* L) {
  static_cast<Config*>(lua_touserdata(L, 1))->~Config();
  return 0;
}

// A table in the registry, made on first use; pushed.
void push_marker(lua_State* L, void* key) {
  lua_pushlightuserdata(L, key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (!lua_isnil(L, -1)) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushlightuserdata(L, key);
  lua_pushvalue(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

int new_module(lua_State* L) {
  static const luaL_Reg kFunctions[] = {
      {"encode", encode_function},
      {"decode", decode_function},
      {"encode_empty_table_as_object", word_function<&Config::encode_empty_table_as_object>},
      {"decode_array_with_array_mt", word_function<&Config::decode_array_with_array_mt>},
      {"decode_allow_comment", word_function<&Config::decode_allow_comment>},
      {"encode_sparse_array", encode_sparse_array},
      {"encode_max_depth", int_function<&Config::encode_max_depth, 1, INT_MAX>},
      {"decode_max_depth", int_function<&Config::decode_max_depth, 1, INT_MAX>},
      {"encode_number_precision", int_function<&Config::encode_number_precision, 1, 16>},
      {"encode_keep_buffer", encode_keep_buffer},
      {"encode_invalid_numbers", encode_invalid_numbers},
      {"decode_invalid_numbers", word_function<&Config::decode_invalid_numbers>},
      {"encode_escape_forward_slash", word_function<&Config::encode_escape_forward_slash>},
      {"encode_skip_unsupported_value_types",
       word_function<&Config::encode_skip_unsupported_value_types>},
      {"encode_indent", encode_indent},
      {"new", new_module},
      {nullptr, nullptr}};
  lua_newtable(L);
  new (lua_newuserdata(L, sizeof(Config))) Config;
  if (luaL_newmetatable(L, kMetatable)) {
    lua_pushcfunction(L, destroy_config);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  for (const luaL_Reg* f = kFunctions; f->name; ++f) {
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, f->func, 1);
    lua_setfield(L, -3, f->name);
  }
  lua_pop(L, 1);

  lua_pushlightuserdata(L, nullptr);
  lua_setfield(L, -2, "null");
  push_marker(L, empty_array_key());
  lua_setfield(L, -2, "empty_array_mt");
  push_marker(L, array_key());
  lua_setfield(L, -2, "array_mt");
  lua_pushlightuserdata(L, array_key());
  lua_setfield(L, -2, "empty_array");
  lua_pushliteral(L, "cjson");
  lua_setfield(L, -2, "_NAME");
  lua_pushliteral(L, "2.1.0.11");
  lua_setfield(L, -2, "_VERSION");
  return 1;
}

int new_safe_module(lua_State* L) {
  new_module(L);
  lua_pushcfunction(L, new_safe_module);
  lua_setfield(L, -2, "new");
  for (const char* name : {"decode", "encode"}) {
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, protected_function, 1);
    lua_setfield(L, -2, name);
  }
  return 1;
}

}  // namespace

void* array_key() { return light(&kArray); }
void* empty_array_key() { return light(&kEmptyArray); }

}  // namespace cjson

void open_cjson(lua_State* L) {
  static const luaL_Reg kModules[] = {
      {"cjson", cjson::new_module}, {"cjson.safe", cjson::new_safe_module}, {nullptr, nullptr}};
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  set_functions(L, kModules);
  lua_pop(L, 2);
}

}  // namespace moonphase::ngx
