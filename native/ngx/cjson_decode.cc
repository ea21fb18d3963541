// cjson.decode: yyjson reads, this makes Lua values of what it has read.
#include <yyjson.h>

#include <memory>

#include "ngx/cjson.h"

namespace moonphase::ngx::cjson {

namespace {

class Builder {
 public:
  Builder(lua_State* L, const Config& config) : L_(L), config_(config) {}

  // False: nested too deeply.
  bool push(yyjson_val* v, int depth) {
    switch (yyjson_get_type(v)) {
      case YYJSON_TYPE_STR:
        lua_pushlstring(L_, yyjson_get_str(v), yyjson_get_len(v));
        return true;
      case YYJSON_TYPE_NUM:
        lua_pushnumber(L_, yyjson_get_num(v));
        return true;
      case YYJSON_TYPE_BOOL:
        lua_pushboolean(L_, yyjson_get_bool(v));
        return true;
      case YYJSON_TYPE_ARR:
        return push_array(v, depth + 1);
      case YYJSON_TYPE_OBJ:
        return push_object(v, depth + 1);
      default:
        lua_pushlightuserdata(L_, nullptr);
        return true;
    }
  }

 private:
  bool push_array(yyjson_val* v, int depth) {
    if (depth > config_.decode_max_depth || !lua_checkstack(L_, 3)) return false;
    lua_createtable(L_, static_cast<int>(yyjson_arr_size(v)), 0);
    if (config_.decode_array_with_array_mt) {
      lua_pushlightuserdata(L_, array_key());
      lua_rawget(L_, LUA_REGISTRYINDEX);
      lua_setmetatable(L_, -2);
    }
    size_t i, n;
    yyjson_val* item;
    yyjson_arr_foreach(v, i, n, item) {
      if (!push(item, depth)) return false;
      lua_rawseti(L_, -2, static_cast<int>(i + 1));
    }
    return true;
  }

  bool push_object(yyjson_val* v, int depth) {
    if (depth > config_.decode_max_depth || !lua_checkstack(L_, 4)) return false;
    lua_createtable(L_, 0, static_cast<int>(yyjson_obj_size(v)));
    size_t i, n;
    yyjson_val *key, *item;
    yyjson_obj_foreach(v, i, n, key, item) {
      lua_pushlstring(L_, yyjson_get_str(key), yyjson_get_len(key));
      if (!push(item, depth)) return false;
      lua_rawset(L_, -3);
    }
    return true;
  }

  lua_State* L_;
  const Config& config_;
};

struct FreeDoc {
  void operator()(yyjson_doc* d) const { yyjson_doc_free(d); }
};

}  // namespace

void decode(lua_State* L, const Config& config, Str text) {
  // lua-cjson takes any bytes for text.
  yyjson_read_flag flags = YYJSON_READ_ALLOW_INVALID_UNICODE;
  if (config.decode_allow_comment) flags |= YYJSON_READ_ALLOW_COMMENTS;
  {
    std::unique_ptr<yyjson_doc, FreeDoc> doc(
        yyjson_read_opts(const_cast<char*>(text.data()), text.size(), flags, nullptr, nullptr));
    int top = lua_gettop(L);
    if (doc && Builder(L, config).push(yyjson_doc_get_root(doc.get()), 0)) return;
    lua_settop(L, top);
  }
  decode_leniently(L, config, text);
}

}  // namespace moonphase::ngx::cjson
