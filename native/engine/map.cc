#include "engine/map.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "engine/forwarded.h"

namespace moonphase::engine {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

Str to_lower(Request* r, Str s) {
  char* p = r->pool->bytes(s.size());
  std::transform(s.begin(), s.end(), p, lower);
  return {p, s.size()};
}

const Complex* find_mask(const MapPlan& map, Str key) {
  // Heads go before tails; the longest first (seal_map sorted them).
  for (const auto& [mask, value] : map.masks) {
    Str m = mask;
    if (m.starts_with("*.")) {
      if (key.size() > m.size() - 1 && key.ends_with(m.substr(1))) return &value;
    } else {
      m.remove_suffix(1);  // "www.example.*": the dot stays
      if (key.size() > m.size() && key.starts_with(m)) return &value;
    }
  }
  return nullptr;
}

uint32_t murmur_hash2(Str s) {
  constexpr uint32_t kM = 0x5bd1e995;
  auto* p = reinterpret_cast<const uint8_t*>(s.data());
  size_t n = s.size();
  uint32_t h = 0 ^ static_cast<uint32_t>(n);
  for (; n >= 4; n -= 4, p += 4) {
    uint32_t k = p[0] | static_cast<uint32_t>(p[1]) << 8 | static_cast<uint32_t>(p[2]) << 16 |
                 static_cast<uint32_t>(p[3]) << 24;
    k *= kM;
    k ^= k >> 24;
    k *= kM;
    h = (h * kM) ^ k;
  }
  if (n == 3) h ^= static_cast<uint32_t>(p[2]) << 16;
  if (n >= 2) h ^= static_cast<uint32_t>(p[1]) << 8;
  if (n >= 1) h = (h ^ p[0]) * kM;
  h ^= h >> 13;
  h *= kM;
  return h ^ (h >> 15);
}

}  // namespace

int map_value(Request* r, const MapPlan& map, VarValue* v) {
  Str key = eval(r, map.source);
  if (map.hostnames && key.ends_with('.')) key.remove_suffix(1);
  Str low = to_lower(r, key);
  const Complex* value = nullptr;
  if (auto it = map.exact.find(low); it != map.exact.end()) value = &it->second;
  if (!value && !map.masks.empty()) value = find_mask(map, low);
  if (!value && !key.empty()) {
    for (const auto& [regex, result] : map.regex) {
      int rc = match_regex(r, *regex, key);
      if (rc == kDeclined) continue;
      if (rc == kOk) value = &result;
      break;
    }
  }
  return found(v, eval(r, value ? *value : map.fallback));
}

int split_value(Request* r, const SplitPlan& split, VarValue* v) {
  uint32_t hash = murmur_hash2(eval(r, split.source));
  for (const auto& [upto, value] : split.parts) {
    if (upto >= 10000 ||
        hash < static_cast<uint32_t>(static_cast<uint64_t>(upto) * 0xffffffff / 10000))
      return found(v, value);
  }
  return found(v, "");
}

namespace {

// Of trusted proxies the client that they name.
Str behind_proxies(Request* r, const GeoPlan& geo, Str text, char* buf, socklen_t size) {
  const http::Header* lines = r->headers_in.x_forwarded_for;
  SocketAddress client;
  if (geo.proxies.empty() || !lines || !parse_address(text, &client) ||
      !forwarded_address(lines, geo.proxies, geo.proxy_recursive, &client))
    return text;
  const sockaddr* sa = client.get();
  const void* bytes =
      sa->sa_family == AF_INET6
          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6*>(sa)->sin6_addr)
          : &reinterpret_cast<const sockaddr_in*>(sa)->sin_addr;
  return inet_ntop(sa->sa_family, bytes, buf, size) ? Str(buf) : text;
}

}  // namespace

int geo_value(Request* r, const GeoPlan& geo, VarValue* v) {
  uint8_t address[16];
  int bits, index = -1;
  bool ipv4;
  char buf[INET6_ADDRSTRLEN];
  Str text = behind_proxies(r, geo, eval(r, geo.source), buf, sizeof buf);
  if (parse_cidr(text, address, &bits, &ipv4)) {
    index = geo.trie.find(address);
  } else {
    std::fill_n(address, 10, uint8_t{0});
    std::fill_n(address + 10, 6, uint8_t{0xff});  // what is no address is 255.255.255.255
    index = geo.trie.find(address);
  }
  return found(v,
               index < 0 ? Str(geo.fallback) : Str(geo.ranges[static_cast<size_t>(index)].second));
}

void seal_map(MapPlan& map) {
  std::stable_sort(map.masks.begin(), map.masks.end(), [](const auto& a, const auto& b) {
    bool head_a = a.first.starts_with('*'), head_b = b.first.starts_with('*');
    if (head_a != head_b) return head_a;
    return a.first.size() > b.first.size();
  });
}

bool seal_geo(GeoPlan& geo, std::string* error) {
  for (size_t i = 0; i < geo.ranges.size(); ++i) {
    uint8_t address[16];
    int bits;
    bool ipv4;
    if (!parse_cidr(geo.ranges[i].first, address, &bits, &ipv4)) {
      *error = "invalid network \"" + geo.ranges[i].first + "\"";
      return false;
    }
    geo.trie.add(address, bits, static_cast<int>(i));
  }
  return true;
}

bool parse_cidr(Str text, uint8_t* address, int* bits, bool* is_ipv4) {
  char buf[64];
  Str host = text;
  int prefix = -1;
  if (size_t slash = text.find('/'); slash != Str::npos) {
    host = text.substr(0, slash);
    Str digits = text.substr(slash + 1);
    auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
    if (ec != std::errc() || end != digits.data() + digits.size() || prefix < 0) return false;
  }
  if (host.size() >= sizeof buf) return false;
  *std::copy(host.begin(), host.end(), buf) = 0;

  if (in_addr v4; inet_pton(AF_INET, buf, &v4) == 1) {
    if (prefix > 32) return false;
    std::fill_n(address, 10, uint8_t{0});
    address[10] = address[11] = 0xff;
    std::memcpy(address + 12, &v4, 4);
    *bits = 96 + (prefix < 0 ? 32 : prefix);
    *is_ipv4 = true;
  } else if (inet_pton(AF_INET6, buf, address) == 1) {
    if (prefix > 128) return false;
    *bits = prefix < 0 ? 128 : prefix;
    *is_ipv4 = false;
  } else {
    return false;
  }
  for (int i = 0; i < 16; ++i) {  // low bits mean nothing
    int keep = std::clamp(*bits - 8 * i, 0, 8);
    address[i] &= static_cast<uint8_t>(0xff00 >> keep);
  }
  return true;
}

void AddressTrie::add(const uint8_t* address, int bits, int value) {
  if (nodes.empty()) nodes.emplace_back();
  int at = 0;
  for (int i = 0; i < bits; ++i) {
    int bit = address[i / 8] >> (7 - i % 8) & 1;
    if (nodes[static_cast<size_t>(at)].child[bit] < 0) {
      nodes[static_cast<size_t>(at)].child[bit] = static_cast<int>(nodes.size());
      nodes.emplace_back();
    }
    at = nodes[static_cast<size_t>(at)].child[bit];
  }
  nodes[static_cast<size_t>(at)].value = value;
}

int AddressTrie::find(const uint8_t* address) const {
  int value = -1;
  if (nodes.empty()) return value;
  int at = 0;
  for (int i = 0; at >= 0; ++i) {
    const Node& node = nodes[static_cast<size_t>(at)];
    if (node.value >= 0) value = node.value;
    if (i == 128) break;
    at = node.child[address[i / 8] >> (7 - i % 8) & 1];
  }
  return value;
}

}  // namespace moonphase::engine
