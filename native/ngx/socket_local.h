// The local address that `bind` gives to a cosocket.
#pragma once

#include <sys/socket.h>

#include <lua.hpp>

namespace moonphase::ngx {

struct LocalAddress {
  const void* tag;  // says that it is one
  sockaddr_storage addr;
  socklen_t len;
};

// Pushes a userdata with the address (numeric, no name); false: nothing is pushed.
bool push_local_address(lua_State* L, const char* text, int port);

// What `bind` has left at `index`; null: nothing.
const LocalAddress* local_address(lua_State* L, int index);

}  // namespace moonphase::ngx
