// ngx.shared: one table per zone. What lua-resty-core has in Lua calls the
// ngx_http_lua_ffi_shdict_* functions of shared_dict.cc with a shm::Zone*; the methods that it
// leaves to C are in shared_dict_lua.cc.
#pragma once

#include <lua.hpp>

#include <span>

#include "shm/zone.h"

namespace moonphase::ngx {

// Sets the field `shared` of the table on the stack's top. Each zone becomes {[1] = userdata}, all
// with one metatable, whose `__index` (itself) is what resty.core.shdict adds its methods to: to be
// called before resty.core is loaded. The VM holds every zone until it is closed; the caller may
// release its own hold at once.
void inject_shared_dicts(lua_State* L, std::span<shm::Zone* const> zones);

}  // namespace moonphase::ngx
