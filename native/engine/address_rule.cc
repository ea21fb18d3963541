#include "engine/address_rule.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "engine/map.h"

namespace moonphase::engine {

bool make_rule(bool allow, Str text, AddressRule* rule) {
  rule->allow = allow;
  if (text == "all") return true;
  if (text == "unix:") {
    rule->family = AddressRule::kUnix;
    return true;
  }
  uint8_t address[16];
  int bits;
  bool ipv4;
  if (!parse_cidr(text, address, &bits, &ipv4)) return false;
  rule->family = ipv4 ? AddressRule::kInet : AddressRule::kInet6;
  int skip = ipv4 ? 12 : 0;
  for (int i = skip; i < 16; ++i) {
    rule->address[i - skip] = address[i];
    rule->mask[i - skip] = static_cast<uint8_t>(0xff00 >> std::clamp(bits - 8 * i, 0, 8));
  }
  return true;
}

RuleAddress::RuleAddress(const sockaddr* sa) {
  if (sa->sa_family == AF_INET) {
    family_ = AddressRule::kInet;
    n_ = 4;
    std::memcpy(bytes_, &reinterpret_cast<const sockaddr_in*>(sa)->sin_addr, n_);
  } else if (sa->sa_family == AF_INET6) {
    auto& v6 = reinterpret_cast<const sockaddr_in6*>(sa)->sin6_addr;
    bool mapped = IN6_IS_ADDR_V4MAPPED(&v6);
    family_ = mapped ? AddressRule::kInet : AddressRule::kInet6;
    n_ = mapped ? 4 : 16;
    std::memcpy(bytes_, v6.s6_addr + (mapped ? 12 : 0), n_);
  } else if (sa->sa_family == AF_UNIX) {
    family_ = AddressRule::kUnix;
  }
}

bool RuleAddress::in(const AddressRule& rule) const {
  if (rule.family == AddressRule::kAll) return true;
  if (rule.family != family_) return false;
  for (size_t i = 0; i < n_; ++i)
    if ((bytes_[i] & rule.mask[i]) != rule.address[i]) return false;
  return true;
}

}  // namespace moonphase::engine
