#include "engine/forwarded.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <string>

namespace moonphase::engine {

namespace {

bool parse_bare(Str text, SocketAddress* address) {
  std::string buf(text);
  *address = {};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address->storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address->storage);
  if (inet_pton(AF_INET, buf.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    address->len = sizeof *v4;
  } else if (inet_pton(AF_INET6, buf.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    address->len = sizeof *v6;
  } else {
    return false;
  }
  return true;
}

bool trusts(const std::vector<AddressRule>& trusted, const SocketAddress& address) {
  RuleAddress one(address.get());
  return one.known() && std::any_of(trusted.begin(), trusted.end(),
                                    [&](const AddressRule& rule) { return one.in(rule); });
}

enum class Found { kNothing, kUntrusted, kAll };

Found search(Str list, const std::vector<AddressRule>& trusted, bool recursive,
             SocketAddress* address) {
  Found found = Found::kNothing;
  do {
    if (!trusts(trusted, *address)) return found == Found::kNothing ? found : Found::kUntrusted;
    size_t end = list.find_last_not_of(" ,");
    list = list.substr(0, end == Str::npos ? 0 : end + 1);
    size_t comma = list.find_last_of(" ,");
    Str last = comma == Str::npos ? list : list.substr(comma + 1);
    SocketAddress next;
    if (!parse_address(last, &next)) return found == Found::kNothing ? found : Found::kUntrusted;
    *address = next;
    found = Found::kAll;
    list = comma == Str::npos ? Str() : list.substr(0, comma);
  } while (recursive && !list.empty());
  return found;
}

}  // namespace

bool parse_address(Str text, SocketAddress* address) {
  if (parse_bare(text, address)) return true;
  Str host, digits;
  if (text.starts_with('[')) {
    size_t end = text.find(']');
    if (end == Str::npos) return false;
    host = text.substr(1, end - 1);
    if (end + 1 == text.size()) return parse_bare(host, address);
    if (text[end + 1] != ':') return false;
    digits = text.substr(end + 2);
  } else {
    size_t colon = text.find(':');
    if (colon == Str::npos) return false;
    host = text.substr(0, colon);
    digits = text.substr(colon + 1);
  }
  int port = 0;
  auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (ec != std::errc() || end != digits.data() + digits.size() || port < 1 || port > 65535)
    return false;
  if (!parse_bare(host, address)) return false;
  // sin_port and sin6_port lie at the same place.
  reinterpret_cast<sockaddr_in*>(&address->storage)->sin_port = htons(static_cast<uint16_t>(port));
  return true;
}

bool forwarded_address(Str list, const std::vector<AddressRule>& trusted, bool recursive,
                       SocketAddress* address) {
  return search(list, trusted, recursive, address) != Found::kNothing;
}

bool forwarded_address(const http::Header* lines, const std::vector<AddressRule>& trusted,
                       bool recursive, SocketAddress* address) {
  std::vector<const http::Header*> reversed;
  for (const http::Header* h = lines; h; h = h->same)
    if (h->hash) reversed.push_back(h);
  bool any = false;
  for (auto it = reversed.rbegin(); it != reversed.rend(); ++it) {
    Found found = search((*it)->value, trusted, recursive, address);
    any = any || found != Found::kNothing;
    if (!recursive || found != Found::kAll) break;
  }
  return any;
}

}  // namespace moonphase::engine
