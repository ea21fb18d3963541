// DNS questions and answers on the wire (RFC 1035): A and AAAA, following CNAMEs inside one answer.
#pragma once

#include <netinet/in.h>

#include <string>
#include <vector>

#include "base/types.h"

namespace moonphase::net {

struct DnsAnswer {
  int rcode =
      0;  // 0 ok, 1 format error, 2 server failure, 3 no such name, 4 not implemented, 5 refused
  bool truncated = false;
  uint32_t ttl = 0;                 // the smallest of the records used
  std::vector<in6_addr> addresses;  // IPv4 in the first four bytes when `v6` is false
  bool v6 = false;
};

// Empty: the name cannot be asked for (labels too long, empty).
std::string dns_query(uint16_t id, Str name, bool v6);
// False: not an answer to (id, name, v6).
bool dns_parse(Str message, uint16_t id, Str name, bool v6, DnsAnswer* answer);

}  // namespace moonphase::net
