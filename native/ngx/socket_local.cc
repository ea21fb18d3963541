#include "ngx/socket_local.h"

#include <arpa/inet.h>

#include <cstring>

namespace moonphase::ngx {

bool push_local_address(lua_State* L, const char* text, int port) {
  LocalAddress local{};
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
