// The Lua side of stream cosockets: the slots of their objects, and the methods that all of them
// have.
#pragma once

#include <lua.hpp>

#include "engine/sockets/stream_socket.h"

namespace moonphase::ngx {

// The object is a table; lua-resty-core and libraries know these slots by number.
enum Slot : int {
  kCtx = 1,  // the userdata
  kConnectTimeout = 2,
  kKey = 3,  // pool name
  kSendTimeout = 4,
  kReadTimeout = 5,
  kBind = 8,
  kTransparent = 9,
};

engine::StreamSocket* socket_of(lua_State* L, int index);
int fail(lua_State* L, const char* why);  // nil, why

enum Busy : unsigned { kBusyConnecting = 1, kBusyReading = 2, kBusyWriting = 4 };
// What the socket is at, of `which`; null: nothing.
const char* busy(const engine::StreamSocket* s, unsigned which);

namespace socket {
int receive(lua_State* L);
int receiveany(lua_State* L);
int receiveuntil(lua_State* L);
int send(lua_State* L);
int close(lua_State* L);
int settimeout(lua_State* L);
int getfd(lua_State* L);  // lua-resty-core has its own from 0.1.33 on
int settimeouts(lua_State* L);
}  // namespace socket

// A new socket for the object at slot kCtx gets this metatable.
void set_socket_gc(lua_State* L);
// A metatable with this `__gc`, in the registry under the address `key`.
void gc_metatable(lua_State* L, const char* key, lua_CFunction gc);
void open_socket_stream(lua_State* L);  // what the methods need in the registry

}  // namespace moonphase::ngx
