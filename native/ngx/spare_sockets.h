// Cosockets whose connection went into a pool: their userdata serves another connect() of the same
// VM instead of becoming garbage, for most requests take a connection and give it back.
#pragma once

#include <lua.hpp>

#include "engine/sockets/cosocket.h"

namespace moonphase::ngx {

// A new socket in slot kCtx of the object at index 1.
engine::CoSocket* place_socket(lua_State* L, engine::LuaCtx* ctx);
// The object at index 1 has given its connection away and `s` is not its own any more: in its slot
// is one that is closed, the same for all such objects (CoSocket::stands_in), until it connects
// again.
void spare_socket(lua_State* L, engine::LuaCtx* ctx);
void open_spare_sockets(lua_State* L);  // what the two need in the registry

}  // namespace moonphase::ngx
