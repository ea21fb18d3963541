// ngx.shared: one table per zone. What lua-resty-core has in Lua calls the
// ngx_http_lua_ffi_shdict_* functions of shared_dict.cc with a shm::Zone*; the methods that it
// leaves to C are in shared_dict_lua.cc, those that OpenResty lacks in shared_dict_more.cc and
// shared_dict_watch.cc.
#pragma once

#include <lua.hpp>

#include <span>

#include "shm/zone.h"

namespace moonphase::ngx {

struct SharedDict {
  static constexpr char kTag = 0;
  shm::Zone* zone = nullptr;
  // Lua code can put another userdata in this one's place; the second word of none is this address.
  const void* tag = &kTag;
  bool any = false;  // takes tables too: `values=any`
};

// Sets the field `shared` of the table on the stack's top. Each zone becomes {[1] = userdata}, all
// with one metatable, whose `__index` (itself) is what resty.core.shdict adds its methods to: to be
// called before resty.core is loaded. The VM holds every zone until it is closed; the caller may
// release its own hold at once. lua/moonphase/shared.lua finds the methods and `make` in the
// metatable of `shared`, which it takes away.
void inject_shared_dicts(lua_State* L, std::span<const SharedDict> dicts, lua_CFunction make);
// A further one.
void push_shared_dict(lua_State* L, const SharedDict& dict);

// Bytes, as a number or as nginx writes sizes; 0: neither.
uint64_t read_size(lua_State* L, int index);
constexpr uint64_t kSmallestDict = 8192;

// What is at `index` as a dictionary; null: it is none, or its VM is being closed.
SharedDict* dict_at(lua_State* L, int index);

// Add to the methods on the stack's top. What begins with "__" is for lua/moonphase/shared.lua,
// which takes it out again.
void add_more_methods(lua_State* L);
void add_watch_methods(lua_State* L);

}  // namespace moonphase::ngx
