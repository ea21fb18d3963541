#include "ngx/socket_local.h"

#include <arpa/inet.h>

#include <cstring>

namespace moonphase::ngx {

static constexpr char kTag = 0;

const LocalAddress* local_address(lua_State* L, int index) {
  if (lua_objlen(L, index) != sizeof(LocalAddress)) return nullptr;
  auto* local = static_cast<const LocalAddress*>(lua_touserdata(L, index));
  return local && local->tag == &kTag ? local : nullptr;
}

bool push_local_address(lua_State* L, const char* text, int port) {
  LocalAddress local{};
  local.tag = &kTag;
  auto* sin = reinterpret_cast<sockaddr_in*>(&local.addr);
  auto* sin6 = reinterpret_cast<sockaddr_in6*>(&local.addr);
  if (inet_pton(AF_INET, text, &sin->sin_addr) == 1) {
    sin->sin_family = AF_INET;
    sin->sin_port = htons(static_cast<uint16_t>(port));
    local.len = sizeof *sin;
  } else if (inet_pton(AF_INET6, text, &sin6->sin6_addr) == 1) {
    sin6->sin6_family = AF_INET6;
    sin6->sin6_port = htons(static_cast<uint16_t>(port));
    local.len = sizeof *sin6;
  } else {
    return false;
  }
  std::memcpy(lua_newuserdata(L, sizeof local), &local, sizeof local);
  return true;
}

}  // namespace moonphase::ngx
