// The methods of a dictionary that OpenResty has not: cas, get_multi, set_multi, resize, stats; and
// those that are others where a dictionary takes values of any type, which string.buffer encodes.
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "ngx/shared_dict.h"

namespace moonphase::ngx {

namespace {

using shm::GetResult;
using shm::Type;
using shm::Value;

SharedDict* self(lua_State* L) {
  SharedDict* dict = lua_istable(L, 1) ? dict_at(L, 1) : nullptr;
  if (dict == nullptr) luaL_error(L, "bad \"zone\" argument");
  return dict;
}

int failure(lua_State* L, const char* error) {
  lua_pushnil(L);
  lua_pushstring(L, error);
  return 2;
}

// Null, or what is wrong with the key at `index`, which becomes a string.
const char* read_key(lua_State* L, int index, Str* key) {
  if (lua_isnoneornil(L, index)) return "nil key";
  if (lua_type(L, index) != LUA_TSTRING) {
    lua_getglobal(L, "tostring");
    lua_pushvalue(L, index);
    lua_call(L, 1, 1);
    lua_replace(L, index);
  }
  size_t len;
  const char* p = luaL_checklstring(L, index, &len);
  *key = {p, len};
  if (len == 0) return "empty key";
  return len > shm::kMaxKey ? "key too long" : nullptr;
}

// Pushes string.buffer's function.
void push_codec(lua_State* L, const char* name) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "string.buffer");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
}

// False: the value at `index` cannot be stored. Tables (and 64-bit numbers) become their encoding,
// in its place; string.buffer raises an error for what it cannot encode.
bool read_value(lua_State* L, int index, bool any, Value* value) {
  int type = lua_type(L, index);
  if (any && (type == LUA_TTABLE || type == 10 /* cdata */)) {
    push_codec(L, "encode");
    lua_pushvalue(L, index);
    lua_call(L, 1, 1);
    lua_replace(L, index);
    value->type = Type::kEncoded;
  } else if (type == LUA_TNONE) {
    value->type = Type::kNil;
  } else {
    value->type = static_cast<Type>(type);
  }
  size_t len = 0;
  const char* p;
  switch (value->type) {
    case Type::kNil:
      return true;
    case Type::kBoolean:
      value->number = lua_toboolean(L, index);
      return true;
    case Type::kNumber:
      value->number = lua_tonumber(L, index);
      return true;
    case Type::kString:
    case Type::kEncoded:
      if (lua_type(L, index) != LUA_TSTRING) return false;
      p = lua_tolstring(L, index, &len);
      value->bytes = {p, len};
      return true;
    default:
      return false;
  }
}

int64_t read_ttl(lua_State* L, int index) {
  double seconds = luaL_optnumber(L, index, 0);
  if (!(seconds >= 0)) luaL_error(L, "bad \"exptime\" argument");
  return static_cast<int64_t>(seconds * 1000);
}

void push_value(lua_State* L, const GetResult& r) {
  switch (r.type) {
    case Type::kBoolean:
      lua_pushboolean(L, r.number != 0);
      break;
    case Type::kNumber:
      lua_pushnumber(L, r.number);
      break;
    case Type::kString:
      lua_pushlstring(L, r.data, r.size);
      break;
    case Type::kEncoded:
      push_codec(L, "decode");
      lua_pushlstring(L, r.data, r.size);
      lua_call(L, 1, 1);
      break;
    default:
      lua_pushnil(L);
  }
}

// Where the strings of a call are copied while the lock is held.
class Copies {
 public:
  shm::Sink sink() { return {nullptr, 0, grow, this}; }

 private:
  static char* grow(void* self, size_t n) {
    auto piece = std::unique_ptr<char[]>(new (std::nothrow) char[n > 0 ? n : 1]);
    char* p = piece.get();
    if (p != nullptr) static_cast<Copies*>(self)->pieces_.push_back(std::move(piece));
    return p;
  }
  std::vector<std::unique_ptr<char[]>> pieces_;
};

int stored(lua_State* L, const shm::StoreResult& r) {
  lua_pushboolean(L, r.rc == kOk);
  if (r.rc == kOk) {
    lua_pushnil(L);
  } else {
    lua_pushstring(L, r.error);
  }
  lua_pushboolean(L, r.forcible);
  return 3;
}

// Whether the values at two absolute indexes are the same, tables by their contents.
bool same(lua_State* L, int a, int b) {
  if (lua_rawequal(L, a, b)) return true;
  if (lua_type(L, a) == 10 && lua_type(L, b) == 10) return lua_equal(L, a, b) != 0;
  if (!lua_istable(L, a) || !lua_istable(L, b)) return false;
  luaL_checkstack(L, 6, "table nested too deep");
  int count = 0;
  for (lua_pushnil(L); lua_next(L, a) != 0; lua_pop(L, 1), count++) {
    int value = lua_gettop(L);
    lua_pushvalue(L, value - 1);
    lua_rawget(L, b);
    if (!same(L, value, value + 1)) {
      lua_settop(L, value - 2);
      return false;
    }
    lua_pop(L, 1);
  }
  for (lua_pushnil(L); lua_next(L, b) != 0; lua_pop(L, 1)) count--;
  return count == 0;
}

// The order of a table's fields is no part of its value, so encodings cannot be compared: what is
// stored is decoded, compared, and replaced if it is still that.
shm::StoreResult cas_table(lua_State* L, SharedDict* dict, Str key, int old, const Value& value,
                           int64_t ttl, uint32_t flags) {
  for (;;) {
    Copies copies;
    int64_t now = moonphase::now().wall_ms;
    GetResult r = dict->zone->dict.get(key, now, copies.sink());
    if (r.rc != kOk || r.type != Type::kEncoded) return {kDeclined, "changed", false};
    push_value(L, r);
    bool equal = same(L, old, lua_gettop(L));
    lua_pop(L, 1);
    if (!equal) return {kDeclined, "changed", false};
    Value seen{.type = Type::kEncoded, .number = 0, .bytes = {r.data, r.size}};
    shm::StoreResult res = dict->zone->dict.cas(key, seen, value, ttl, flags, now);
    if (res.rc != kDeclined) return res;
  }
}

// dict:cas(key, old, new, exptime?, flags?)
int cas(lua_State* L) {
  SharedDict* dict = self(L);
  lua_settop(L, 6);
  Str key;
  if (const char* wrong = read_key(L, 2, &key)) return failure(L, wrong);
  int64_t ttl = read_ttl(L, 5);
  auto flags = static_cast<uint32_t>(luaL_optinteger(L, 6, 0));
  Value old, value;
  if (!read_value(L, 4, dict->any, &value)) return failure(L, "bad value type");
  int type = lua_type(L, 3);
  if (dict->any && (type == LUA_TTABLE || type == 10))
    return stored(L, cas_table(L, dict, key, 3, value, ttl, flags));
  if (!read_value(L, 3, false, &old)) return failure(L, "bad value type");
  return stored(L, dict->zone->dict.cas(key, old, value, ttl, flags, now().wall_ms));
}

// dict:get_multi(keys): {key = value}, all of one moment.
int get_multi(lua_State* L) {
  SharedDict* dict = self(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  auto n = static_cast<int>(lua_objlen(L, 2));
  lua_createtable(L, n, 0);  // keeps the keys that tostring makes
  std::vector<Str> keys(static_cast<size_t>(n));
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, 2, i);
    if (const char* wrong = read_key(L, 4, &keys[static_cast<size_t>(i - 1)]))
      return failure(L, wrong);
    lua_rawseti(L, 3, i);
  }
  std::vector<GetResult> results(keys.size());
  Copies copies;
  dict->zone->dict.get_multi(keys, now().wall_ms, copies.sink(), results.data());
  lua_createtable(L, 0, n);
  for (int i = 1; i <= n; i++) {
    const GetResult& r = results[static_cast<size_t>(i - 1)];
    if (r.type == Type::kNil) continue;
    if (r.rc != kOk) return failure(L, r.error != nullptr ? r.error : "no memory");
    lua_rawgeti(L, 3, i);
    push_value(L, r);
    lua_rawset(L, 4);
  }
  return 1;
}

// dict:set_multi({key = value}, exptime?, flags?)
int set_multi(lua_State* L) {
  SharedDict* dict = self(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 4);
  int64_t ttl = read_ttl(L, 3);
  auto flags = static_cast<uint32_t>(luaL_optinteger(L, 4, 0));
  lua_newtable(L);  // keeps the strings that are made
  int kept = 0;
  std::vector<shm::Item> items;
  for (lua_pushnil(L); lua_next(L, 2) != 0; lua_settop(L, 6)) {
    shm::Item item;
    lua_pushvalue(L, 6);
    if (const char* wrong = read_key(L, 8, &item.key)) return failure(L, wrong);
    if (!read_value(L, 7, dict->any, &item.value)) return failure(L, "bad value type");
    lua_rawseti(L, 5, ++kept);
    lua_rawseti(L, 5, ++kept);
    lua_pushnil(L);
    items.push_back(item);
  }
  size_t count = 0;
  return stored(L, dict->zone->dict.set_multi(items, ttl, flags, now().wall_ms, &count));
}

int resize(lua_State* L) {
  SharedDict* dict = self(L);
  uint64_t size = read_size(L, 2);
  if (size < kSmallestDict) return failure(L, "invalid size");
  if (const char* error = dict->zone->dict.resize(size, now().wall_ms)) return failure(L, error);
  lua_pushboolean(L, 1);
  return 1;
}

int stats(lua_State* L) {
  shm::Stats s = self(L)->zone->dict.stats();
  lua_createtable(L, 0, static_cast<int>(std::size(shm::kStatsFields)));
  for (const shm::StatsField& f : shm::kStatsFields) {
    lua_pushnumber(L, static_cast<double>(s.*f.value));
    lua_setfield(L, -2, f.lua);
  }
  return 1;
}

// --- of dictionaries that take any value

int store_any(lua_State* L, int mode) {
  SharedDict* dict = self(L);
  lua_settop(L, 5);
  Str key;
  if (const char* wrong = read_key(L, 2, &key)) return failure(L, wrong);
  int64_t ttl = read_ttl(L, 4);
  auto flags = static_cast<uint32_t>(luaL_optinteger(L, 5, 0));
  Value value;
  if (!read_value(L, 3, true, &value)) return failure(L, "bad value type");
  return stored(L, dict->zone->dict.store(mode, key, value, ttl, flags, now().wall_ms));
}

int set_any(lua_State* L) { return store_any(L, shm::kSet); }
int safe_set_any(lua_State* L) { return store_any(L, shm::kSafe); }
int add_any(lua_State* L) { return store_any(L, shm::kAdd); }
int safe_add_any(lua_State* L) { return store_any(L, shm::kAdd | shm::kSafe); }
int replace_any(lua_State* L) { return store_any(L, shm::kReplace); }

int get_any(lua_State* L, bool stale_too) {
  SharedDict* dict = self(L);
  Str key;
  if (const char* wrong = read_key(L, 2, &key)) return failure(L, wrong);
  Copies copies;
  int64_t now = moonphase::now().wall_ms;
  GetResult r = stale_too ? dict->zone->dict.get_stale(key, now, copies.sink())
                          : dict->zone->dict.get(key, now, copies.sink());
  if (r.type == Type::kNil) {
    lua_pushnil(L);
    return 1;
  }
  if (r.rc != kOk) return failure(L, r.error != nullptr ? r.error : "no memory");
  push_value(L, r);
  int n = 1;
  if (r.user_flags != 0 || stale_too) {
    if (r.user_flags != 0) {
      lua_pushnumber(L, r.user_flags);
    } else {
      lua_pushnil(L);
    }
    n = 2;
  }
  if (stale_too) {
    lua_pushboolean(L, r.stale);
    n = 3;
  }
  return n;
}

int get_fresh_any(lua_State* L) { return get_any(L, false); }
int get_stale_any(lua_State* L) { return get_any(L, true); }

int is_any(lua_State* L) {
  lua_pushboolean(L, self(L)->any);
  return 1;
}

constexpr luaL_Reg kMethods[] = {
    {"cas", cas},       {"get_multi", get_multi}, {"set_multi", set_multi},
    {"resize", resize}, {"stats", stats},
};

constexpr luaL_Reg kAnyMethods[] = {
    {"set", set_any},
    {"safe_set", safe_set_any},
    {"add", add_any},
    {"safe_add", safe_add_any},
    {"replace", replace_any},
    {"get", get_fresh_any},
    {"get_stale", get_stale_any},
};

void add(lua_State* L, std::span<const luaL_Reg> methods) {
  for (const luaL_Reg& m : methods) {
    lua_pushcfunction(L, m.func);
    lua_setfield(L, -2, m.name);
  }
}

}  // namespace

uint64_t read_size(lua_State* L, int index) {
  double n = 0;
  if (lua_type(L, index) == LUA_TNUMBER) {
    n = lua_tonumber(L, index);
  } else {
    const char* text = luaL_checkstring(L, index);
    char* end = nullptr;
    n = static_cast<double>(std::strtoull(text, &end, 10));
    if (end == text || *text == '-') return 0;
    if (*end != '\0') {
      const char* units = "kKmMgG";
      const char* unit = std::strchr(units, *end);
      if (unit == nullptr || end[1] != '\0') return 0;
      n *= static_cast<double>(uint64_t{1} << (10 * ((unit - units) / 2 + 1)));
    }
  }
  return n >= 1 && n < 9e15 ? static_cast<uint64_t>(n) : 0;
}

void add_more_methods(lua_State* L) {
  add(L, kMethods);
  lua_pushcfunction(L, is_any);
  lua_setfield(L, -2, "__is_any");
  lua_createtable(L, 0, static_cast<int>(std::size(kAnyMethods)));
  add(L, kAnyMethods);
  lua_setfield(L, -2, "__any");
}

}  // namespace moonphase::ngx
