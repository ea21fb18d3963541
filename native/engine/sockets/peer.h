// Where a cosocket's connection leads: its address, and how log lines name it.
#pragma once

#include <sys/socket.h>

#include <lua.hpp>

#include <string>

#include "base/types.h"

namespace moonphase::engine {

struct Peer {
  sockaddr_storage addr{};
  socklen_t len = 0;
  std::string host;  // as connect() was given it
};

uint16_t port_of(const Peer& peer);  // 0: a unix socket's
void set_port(sockaddr_storage* addr, int port);
// "127.0.0.1" and, with the port, "127.0.0.1:80"; "unix:/path".
std::string address_text(const Peer& peer, bool with_port);
// Fills in addr and len when `host` is an address; false: a name.
bool literal_address(Str host, Peer* peer);
// Why `host` is neither a name nor an address, in nginx's words; null: it may be one.
const char* bad_host(Str host);
// nginx's levels for errors that a peer can cause.
int error_level(int err);
// The text of an errno as LuaSocket has it: in lower case. 0: "error".
void push_errno(lua_State* L, int err);

}  // namespace moonphase::engine
