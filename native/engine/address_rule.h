// Networks of addresses: what allow, deny, set_real_ip_from and the like name.
#pragma once

#include <sys/socket.h>

#include "base/types.h"

namespace moonphase::engine {

// One network in binary, with what it means to who keeps a list of them.
struct AddressRule {
  bool allow = false;
  enum Family : uint8_t { kAll, kInet, kInet6, kUnix } family = kAll;
  uint8_t address[16] = {}, mask[16] = {};
};

// `text`: "all", "unix:" or "10.0.0.0/8". False: it is none of these.
bool make_rule(bool allow, Str text, AddressRule* rule);

// A socket's address as rules compare it: mapped IPv4 addresses count as IPv4.
class RuleAddress {
 public:
  explicit RuleAddress(const sockaddr* sa);
  bool known() const { return family_ != AddressRule::kAll; }
  bool in(const AddressRule& rule) const;

 private:
  AddressRule::Family family_ = AddressRule::kAll;
  size_t n_ = 0;
  uint8_t bytes_[16] = {};
};

}  // namespace moonphase::engine
