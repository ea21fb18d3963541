// allow and deny by the client's address (ngx_http_access_module).
#include <netinet/in.h>

#include <cstring>

#include "engine/content.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"

namespace moonphase::engine {

namespace {

bool matches(const AccessRule& rule, const uint8_t* address, size_t n) {
  for (size_t i = 0; i < n; ++i)
    if ((address[i] & rule.mask[i]) != rule.address[i]) return false;
  return true;
}

}  // namespace

int access_handler(Request* r) {
  const LocConf* conf = loc(r);
  if (conf->access_rules.empty()) return kDeclined;

  AccessRule::Family family;
  uint8_t address[16] = {};
  size_t n = 0;
  auto* sa = reinterpret_cast<const sockaddr*>(&r->conn->peer);
  if (sa->sa_family == AF_INET) {
    family = AccessRule::kInet;
    n = 4;
    std::memcpy(address, &reinterpret_cast<const sockaddr_in*>(sa)->sin_addr, n);
  } else if (sa->sa_family == AF_INET6) {
    auto& v6 = reinterpret_cast<const sockaddr_in6*>(sa)->sin6_addr;
    bool mapped = IN6_IS_ADDR_V4MAPPED(&v6);
    family = mapped ? AccessRule::kInet : AccessRule::kInet6;
    n = mapped ? 4 : 16;
    std::memcpy(address, v6.s6_addr + (mapped ? 12 : 0), n);
  } else if (sa->sa_family == AF_UNIX) {
    family = AccessRule::kUnix;
  } else {
    return kDeclined;
  }

  for (const AccessRule& rule : conf->access_rules) {
    if (rule.family != AccessRule::kAll && (rule.family != family || !matches(rule, address, n)))
      continue;
    if (rule.allow) return kOk;
    if (!conf->satisfy_any) MOONPHASE_LOG(r, kLogErr, 0, "access forbidden by rule");
    return 403;
  }
  return kDeclined;
}

}  // namespace moonphase::engine
