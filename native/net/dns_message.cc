#include "net/dns_message.h"

#include <algorithm>
#include <cctype>
#include <cstring>

namespace moonphase::net {
namespace {

constexpr uint16_t kTypeA = 1, kTypeCname = 5, kTypeAaaa = 28;

bool same_name(Str a, Str b) {
  if (!a.empty() && a.back() == '.') a.remove_suffix(1);
  if (!b.empty() && b.back() == '.') b.remove_suffix(1);
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return std::tolower(static_cast<unsigned char>(x)) ==
                  std::tolower(static_cast<unsigned char>(y));
         });
}

// A cursor that turns bad at the first overrun.
struct Reader {
  Str msg;
  size_t at = 0;
  bool bad = false;

  uint16_t u16() {
    if (at + 2 > msg.size()) return bad = true, 0;
    const auto* p = reinterpret_cast<const unsigned char*>(msg.data() + at);
    at += 2;
    return static_cast<uint16_t>(p[0] << 8 | p[1]);
  }
  uint32_t u32() {
    const uint32_t high = u16();
    return high << 16 | u16();
  }
  std::string name() {
    std::string out;
    size_t pos = at;
    bool jumped = false;
    for (int hops = 0; hops < 128; ++hops) {
      if (pos >= msg.size()) return bad = true, out;
      const unsigned n = static_cast<unsigned char>(msg[pos]);
      if ((n & 0xc0) == 0xc0) {
        if (pos + 1 >= msg.size()) return bad = true, out;
        if (!jumped) at = pos + 2;
        jumped = true;
        pos = (n & 0x3f) << 8 | static_cast<unsigned char>(msg[pos + 1]);
        continue;
      }
      if (n == 0) {
        if (!jumped) at = pos + 1;
        return out;
      }
      if (n > 63 || pos + 1 + n > msg.size() || out.size() + n > 255) return bad = true, out;
      if (!out.empty()) out.push_back('.');
      out.append(msg.substr(pos + 1, n));
      pos += 1 + n;
    }
    bad = true;
    return out;
  }
};

}  // namespace

std::string dns_query(uint16_t id, Str name, bool v6) {
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  if (name.empty() || name.size() > 253) return {};
  std::string q;
  auto put16 = [&](unsigned v) {
    q.push_back(static_cast<char>(v >> 8));
    q.push_back(static_cast<char>(v & 0xff));
  };
  put16(id);
  put16(0x0100);  // recursion desired
  put16(1);
  put16(0);
  put16(0);
  put16(0);
  while (true) {
    const size_t dot = name.find('.');
    const Str label = name.substr(0, dot);
    if (label.empty() || label.size() > 63) return {};
    q.push_back(static_cast<char>(label.size()));
    q.append(label);
    if (dot == Str::npos) break;
    name.remove_prefix(dot + 1);
  }
  q.push_back(0);
  put16(v6 ? kTypeAaaa : kTypeA);
  put16(1);
  return q;
}

bool dns_parse(Str message, uint16_t id, Str name, bool v6, DnsAnswer* answer) {
  Reader r{message};
  if (r.u16() != id) return false;
  const uint16_t flags = r.u16();
  const unsigned questions = r.u16(), answers = r.u16();
  r.u16();
  r.u16();
  if (r.bad || !(flags & 0x8000) || questions != 1) return false;
  const std::string asked = r.name();
  const uint16_t type = r.u16();
  r.u16();
  if (r.bad || type != (v6 ? kTypeAaaa : kTypeA) || !same_name(asked, name)) return false;

  answer->rcode = flags & 0xf;
  answer->truncated = flags & 0x0200;
  answer->v6 = v6;
  answer->ttl = UINT32_MAX;
  std::string owner = asked;
  for (unsigned i = 0; i < answers && !r.bad; ++i) {
    const std::string rr_name = r.name();
    const uint16_t rr_type = r.u16();
    r.u16();
    const uint32_t ttl = r.u32();
    const uint16_t len = r.u16();
    if (r.bad || r.at + len > message.size()) break;
    const size_t next = r.at + len;
    if (same_name(rr_name, owner)) {
      if (rr_type == kTypeCname) {
        owner = r.name();
        answer->ttl = std::min(answer->ttl, ttl);
      } else if (rr_type == type && len == (v6 ? 16 : 4)) {
        in6_addr a{};
        std::memcpy(&a, message.data() + r.at, len);
        answer->addresses.push_back(a);
        answer->ttl = std::min(answer->ttl, ttl);
      }
    }
    r.at = next;
  }
  if (answer->ttl == UINT32_MAX) answer->ttl = 0;
  return true;
}

}  // namespace moonphase::net
