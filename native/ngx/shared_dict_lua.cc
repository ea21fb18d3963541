// The table ngx.shared, and the methods of a dictionary that lua-resty-core leaves to C.
#include <string>
#include <vector>

#include "base/clock.h"
#include "ngx/shared_dict.h"

namespace moonphase::ngx {

namespace {

using shm::End;
using shm::Zone;

Zone* zone_at(lua_State* L, int index) {
  SharedDict* dict = dict_at(L, index);
  return dict != nullptr ? dict->zone : nullptr;
}

int failure(lua_State* L, const char* error) {
  lua_pushnil(L);
  lua_pushstring(L, error);
  return 2;
}

// Of the list methods: all arguments but the value. Null: what a method returns is on the stack
// (always 2 values).
Zone* list_arguments(lua_State* L, int count, Str* key) {
  int n = lua_gettop(L);
  if (n != count) luaL_error(L, "expecting %d arguments, but only seen %d", count, n);
  Zone* zone = lua_istable(L, 1) ? zone_at(L, 1) : nullptr;
  if (zone == nullptr) luaL_error(L, "bad \"zone\" argument");
  const char* wrong = nullptr;
  if (lua_isnil(L, 2)) {
    wrong = "nil key";
  } else {
    size_t len;
    const char* p = luaL_checklstring(L, 2, &len);
    *key = {p, len};
    if (len == 0) wrong = "empty key";
    if (len > shm::kMaxKey) wrong = "key too long";
  }
  if (wrong == nullptr) return zone;
  failure(L, wrong);
  return nullptr;
}

// Of flush_expired and get_keys: the dictionary and the count behind it.
Zone* scan_arguments(lua_State* L, int otherwise, uint32_t* max) {
  int n = lua_gettop(L);
  if (n != 1 && n != 2) luaL_error(L, "expecting 1 or 2 argument(s), but saw %d", n);
  luaL_checktype(L, 1, LUA_TTABLE);
  Zone* zone = zone_at(L, 1);
  if (zone == nullptr) luaL_error(L, "bad user data for the ngx_shm_zone_t pointer");
  int count = n == 2 ? static_cast<int>(luaL_checkinteger(L, 2)) : otherwise;
  *max = count > 0 ? static_cast<uint32_t>(count) : 0;
  return zone;
}

int push(lua_State* L, End end) {
  Str key;
  Zone* zone = list_arguments(L, 3, &key);
  if (zone == nullptr) return 2;
  shm::Value value;
  value.type = static_cast<shm::Type>(lua_type(L, 3));
  if (value.type == shm::Type::kString) {
    size_t len;
    const char* p = lua_tolstring(L, 3, &len);
    value.bytes = {p, len};
  } else if (value.type == shm::Type::kNumber) {
    value.number = lua_tonumber(L, 3);
  } else {
    return failure(L, "bad value type");
  }
  shm::PushResult res = zone->dict.push(key, end, value, now().wall_ms);
  if (res.rc == kOk) {
    lua_pushnumber(L, res.length);
    return 1;
  }
  if (res.rc != kDeclined) return failure(L, res.error);
  lua_pushboolean(L, 0);
  lua_pushstring(L, res.error);
  return 2;
}

int pop(lua_State* L, End end) {
  Str key;
  Zone* zone = list_arguments(L, 2, &key);
  if (zone == nullptr) return 2;
  char small[1024];
  std::string large;
  shm::Sink sink{small, sizeof small,
                 [](void* owner, size_t n) {
                   auto* s = static_cast<std::string*>(owner);
                   s->resize(n);
                   return s->data();
                 },
                 &large};
  shm::GetResult res = zone->dict.pop(key, end, now().wall_ms, sink);
  if (res.rc != kOk) return failure(L, res.error);
  if (res.type == shm::Type::kNumber) {
    lua_pushnumber(L, res.number);
  } else if (res.type == shm::Type::kString) {
    lua_pushlstring(L, res.data, res.size);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

int lpush(lua_State* L) { return push(L, End::kLeft); }
int rpush(lua_State* L) { return push(L, End::kRight); }
int lpop(lua_State* L) { return pop(L, End::kLeft); }
int rpop(lua_State* L) { return pop(L, End::kRight); }

int llen(lua_State* L) {
  Str key;
  Zone* zone = list_arguments(L, 2, &key);
  if (zone == nullptr) return 2;
  shm::PushResult res = zone->dict.llen(key, now().wall_ms);
  if (res.rc != kOk) return failure(L, res.error);
  lua_pushnumber(L, res.length);
  return 1;
}

int flush_expired(lua_State* L) {
  uint32_t max;
  Zone* zone = scan_arguments(L, 0, &max);
  lua_pushnumber(L, zone->dict.flush_expired(max, now().wall_ms));
  return 1;
}

// Copied out first: making Lua strings may collect garbage, which is not to happen under the lock.
int get_keys(lua_State* L) {
  struct Keys {
    std::string bytes;
    std::vector<uint32_t> lengths;
  };
  uint32_t max;
  Zone* zone = scan_arguments(L, 1024, &max);
  Keys keys;
  zone->dict.keys(
      max, now().wall_ms,
      [](void* owner, Str key) {
        auto* k = static_cast<Keys*>(owner);
        k->bytes += key;
        k->lengths.push_back(static_cast<uint32_t>(key.size()));
      },
      &keys);
  lua_createtable(L, static_cast<int>(keys.lengths.size()), 0);
  const char* p = keys.bytes.data();
  for (size_t i = 0; i < keys.lengths.size(); i++) {
    lua_pushlstring(L, p, keys.lengths[i]);
    lua_rawseti(L, -2, static_cast<int>(i + 1));
    p += keys.lengths[i];
  }
  return 1;
}

constexpr luaL_Reg kMethods[] = {
    {"lpush", lpush},       {"rpush", rpush}, {"lpop", lpop},
    {"rpop", rpop},         {"llen", llen},   {"flush_expired", flush_expired},
    {"get_keys", get_keys},
};

char metatables_key;

// Finalizers that run later find no zone.
int release_zone(lua_State* L) {
  auto* dict = static_cast<SharedDict*>(lua_touserdata(L, 1));
  if (dict->zone != nullptr) shm::zone_registry_release(dict->zone);
  dict->zone = nullptr;
  return 0;
}

}  // namespace

SharedDict* dict_at(lua_State* L, int index) {
  lua_rawgeti(L, index, 1);
  auto* dict = static_cast<SharedDict*>(lua_touserdata(L, -1));
  lua_pop(L, 1);
  return dict != nullptr && dict->zone != nullptr ? dict : nullptr;
}

void push_shared_dict(lua_State* L, const SharedDict& one) {
  lua_pushlightuserdata(L, &metatables_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  int metatables = lua_gettop(L);
  lua_createtable(L, 1, 0);
  auto* dict = static_cast<SharedDict*>(lua_newuserdata(L, sizeof(SharedDict)));
  *dict = {};
  lua_rawgeti(L, metatables, 1);
  lua_setmetatable(L, -2);
  shm::zone_registry_retain(one.zone);
  *dict = one;
  lua_rawseti(L, -2, 1);
  lua_rawgeti(L, metatables, 2);
  lua_setmetatable(L, -2);
  lua_remove(L, metatables);
}

void inject_shared_dicts(lua_State* L, std::span<const SharedDict> dicts, lua_CFunction make) {
  lua_createtable(L, 0, static_cast<int>(dicts.size()));
  int shared = lua_gettop(L);
  lua_pushlightuserdata(L, &metatables_key);
  lua_createtable(L, 2, 0);
  lua_createtable(L, 0, 1);  // of the userdata
  lua_pushcfunction(L, release_zone);
  lua_setfield(L, -2, "__gc");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");  // nor may Lua code call it
  lua_rawseti(L, -2, 1);
  lua_createtable(L, 0, 32);  // of the dictionaries
  for (const luaL_Reg& m : kMethods) {
    lua_pushcfunction(L, m.func);
    lua_setfield(L, -2, m.name);
  }
  add_more_methods(L);
  add_watch_methods(L);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_createtable(L, 0, 2);  // for shared.lua
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, "methods");
  lua_pushcfunction(L, make);
  lua_setfield(L, -2, "make");
  lua_setmetatable(L, shared);
  lua_rawseti(L, -2, 2);
  lua_rawset(L, LUA_REGISTRYINDEX);
  for (const SharedDict& one : dicts) {
    lua_pushlstring(L, one.zone->name.data(), one.zone->name.size());
    push_shared_dict(L, one);
    lua_rawset(L, shared);
  }
  lua_setfield(L, -2, "shared");
}

}  // namespace moonphase::ngx
