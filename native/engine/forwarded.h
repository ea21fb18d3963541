// The client behind proxies that are trusted: the addresses of X-Forwarded-For and the like.
#pragma once

#include <vector>

#include "engine/address_rule.h"
#include "http/request.h"

namespace moonphase::engine {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t len = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// "10.0.0.1", "10.0.0.1:80", "::1", "[::1]", "[::1]:80".
bool parse_address(Str text, SocketAddress* address);

// Replaces `address` by the last one of the list, if a trusted proxy has it; with `recursive` goes
// on as long as what it finds is trusted, too. False: nothing was replaced
// (ngx_http_get_forwarded_addr).
bool forwarded_address(Str list, const std::vector<AddressRule>& trusted, bool recursive,
                       SocketAddress* address);
// The same for header lines of one name, the last first.
bool forwarded_address(const http::Header* lines, const std::vector<AddressRule>& trusted,
                       bool recursive, SocketAddress* address);

}  // namespace moonphase::engine
