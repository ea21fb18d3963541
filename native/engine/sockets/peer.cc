#include "engine/sockets/peer.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include <cctype>
#include <cerrno>
#include <cstring>

#include "base/error_level.h"
#include "base/log.h"

namespace moonphase::engine {

uint16_t port_of(const Peer& peer) {
  if (peer.addr.ss_family == AF_INET)
    return ntohs(reinterpret_cast<const sockaddr_in*>(&peer.addr)->sin_port);
  if (peer.addr.ss_family == AF_INET6)
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&peer.addr)->sin6_port);
  return 0;
}

void set_port(sockaddr_storage* addr, int port) {
  if (addr->ss_family == AF_INET)
    reinterpret_cast<sockaddr_in*>(addr)->sin_port = htons(static_cast<uint16_t>(port));
  if (addr->ss_family == AF_INET6)
    reinterpret_cast<sockaddr_in6*>(addr)->sin6_port = htons(static_cast<uint16_t>(port));
}

std::string address_text(const Peer& peer, bool with_port) {
  char text[INET6_ADDRSTRLEN] = "";
  std::string out;
  switch (peer.addr.ss_family) {
    case AF_INET:
      inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&peer.addr)->sin_addr, text,
                sizeof text);
      out = text;
      break;
    case AF_INET6:
      inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(&peer.addr)->sin6_addr, text,
                sizeof text);
      out = with_port ? std::string("[").append(text).append("]") : std::string(text);
      break;
    case AF_UNIX:
      return std::string("unix:").append(
          reinterpret_cast<const sockaddr_un*>(&peer.addr)->sun_path);
    default:
      return out;
  }
  if (with_port) out.append(":").append(std::to_string(port_of(peer)));
  return out;
}

bool literal_address(Str host, Peer* peer) {
  if (host.size() >= 5 && strncasecmp(host.data(), "unix:", 5) == 0) {
    auto* un = reinterpret_cast<sockaddr_un*>(&peer->addr);
    host.remove_prefix(5);
    if (host.size() >= sizeof un->sun_path) return false;
    un->sun_family = AF_UNIX;
    std::memcpy(un->sun_path, host.data(), host.size());
    peer->len = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + host.size() + 1);
    return true;
  }
  std::string text(host);
  auto* sin = reinterpret_cast<sockaddr_in*>(&peer->addr);
  if (inet_pton(AF_INET, text.c_str(), &sin->sin_addr) == 1) {
    sin->sin_family = AF_INET;
    peer->len = sizeof *sin;
    return true;
  }
  if (text.size() > 2 && text.front() == '[' && text.back() == ']')
    text = text.substr(1, text.size() - 2);
  auto* sin6 = reinterpret_cast<sockaddr_in6*>(&peer->addr);
  if (inet_pton(AF_INET6, text.c_str(), &sin6->sin6_addr) == 1) {
    sin6->sin6_family = AF_INET6;
    peer->len = sizeof *sin6;
    return true;
  }
  return false;
}

const char* bad_host(Str host) {
  // Who looked at the whole of it may have meant another one than C's functions would see.
  if (host.find('\0') != Str::npos) return "invalid host";
  if (host.size() < 5 || strncasecmp(host.data(), "unix:", 5) != 0)
    return host.empty() ? "no host" : nullptr;
  if (host.size() == 5) return "no path in the unix domain socket";
  if (host.size() - 5 >= sizeof sockaddr_un::sun_path)
    return "too long path in the unix domain socket";
  return nullptr;
}

int error_level(int err) { return moonphase::error_level(err, kLogErr, kLogCrit); }

void push_errno(lua_State* L, int err) {
  if (!err) {
    lua_pushliteral(L, "error");
    return;
  }
  char text[128], buffer[128];
  const char* msg = strerror_r(err, buffer, sizeof buffer);
  size_t n = 0;
  for (; msg[n] && n < sizeof text; ++n)
    text[n] = static_cast<char>(std::tolower(static_cast<unsigned char>(msg[n])));
  lua_pushlstring(L, text, n);
}

}  // namespace moonphase::engine
