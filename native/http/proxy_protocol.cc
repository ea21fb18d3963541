#include "http/proxy_protocol.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace moonphase::http {

namespace {

constexpr Str kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr size_t kFixed = 16;  // signature, version and command, family, length

unsigned byte_at(Str s, size_t i) { return static_cast<unsigned char>(s[i]); }
uint16_t uint16_at(Str s, size_t i) {
  return static_cast<uint16_t>(byte_at(s, i) << 8 | byte_at(s, i + 1));
}

// The word up to `end`, which is taken, too.
bool take_until(Str* rest, char end, Str* word) {
  size_t at = rest->find(end);
  if (at == Str::npos) return false;
  *word = rest->substr(0, at);
  rest->remove_prefix(at + 1);
  return true;
}

bool take_address(Str* rest, std::string* address) {
  Str word;
  if (!take_until(rest, ' ', &word) ||
      word.find_first_not_of(":.0123456789abcdefABCDEF") != Str::npos)
    return false;
  *address = word;
  return true;
}

bool take_port(Str* rest, char end, uint16_t* port) {
  Str word;
  if (!take_until(rest, end, &word)) return false;
  auto [stop, ec] = std::from_chars(word.data(), word.data() + word.size(), *port);
  return ec == std::errc() && stop == word.data() + word.size();
}

// The header's text after "PROXY ", up to and with its line end; false: it is broken.
bool read_v1(Str* rest, ProxyProtocol* out, bool* known) {
  if (rest->starts_with("UNKNOWN")) {
    size_t end = rest->find("\r\n");
    if (end == Str::npos) return false;
    rest->remove_prefix(end + 2);
    return true;
  }
  if (!rest->starts_with("TCP4 ") && !rest->starts_with("TCP6 ")) return false;
  rest->remove_prefix(5);
  *known = true;
  if (!take_address(rest, &out->source) || !take_address(rest, &out->destination) ||
      !take_port(rest, ' ', &out->source_port) || !take_port(rest, '\r', &out->destination_port) ||
      !rest->starts_with('\n'))
    return false;
  rest->remove_prefix(1);
  return true;
}

std::string text_of(int family, Str bytes) {
  char buf[INET6_ADDRSTRLEN];
  return inet_ntop(family, bytes.data(), buf, sizeof buf) ? buf : "";
}

// The length of the whole; 0: broken.
size_t read_v2(Str bytes, const Log& log, const LogContext* who, ProxyProtocol* out, bool* known) {
  unsigned version = byte_at(bytes, 12) >> 4, command = byte_at(bytes, 12) & 15;
  unsigned family = byte_at(bytes, 13) >> 4, transport = byte_at(bytes, 13) & 15;
  if (version != 2) {
    log_write(log, who, kLogErr, 0, "unknown PROXY protocol version: %u", version);
    return 0;
  }
  size_t length = uint16_at(bytes, 14);
  if (bytes.size() - kFixed < length) {
    log_write(log, who, kLogErr, 0, "header is too large");
    return 0;
  }
  Str body = bytes.substr(kFixed, length);
  size_t whole = kFixed + length;
  // What is not a TCP connection that somebody forwards names nobody.
  if (command != 1 || transport != 1 || (family != 1 && family != 2)) return whole;
  size_t n = family == 1 ? 4 : 16;
  if (body.size() < 2 * n + 4) return 0;
  int af = family == 1 ? AF_INET : AF_INET6;
  out->source = text_of(af, body);
  out->destination = text_of(af, body.substr(n));
  out->source_port = uint16_at(body, 2 * n);
  out->destination_port = uint16_at(body, 2 * n + 2);
  out->tlvs = body.substr(2 * n + 4);
  *known = true;
  return whole;
}

struct TlvName {
  Str name;
  unsigned type;
};
constexpr TlvName kTlvs[] = {
    {"alpn", 1}, {"authority", 2}, {"unique_id", 5}, {"ssl", 0x20}, {"netns", 0x30}};
constexpr TlvName kSslTlvs[] = {
    {"version", 0x21}, {"cn", 0x22}, {"cipher", 0x23}, {"sig_alg", 0x24}, {"key_alg", 0x25}};
constexpr unsigned kSsl = 0x20;
constexpr size_t kSslFixed = 5;  // flags of the client, result of the verification

bool find_tlv(Str tlvs, unsigned type, const Log& log, const LogContext* who, Str* value) {
  while (!tlvs.empty()) {
    size_t length = tlvs.size() < 3 ? 0 : uint16_at(tlvs, 1);
    if (tlvs.size() < 3 || tlvs.size() - 3 < length) {
      log_write(log, who, kLogErr, 0, "broken PROXY protocol TLV");
      return false;
    }
    if (byte_at(tlvs, 0) == type) {
      *value = tlvs.substr(3, length);
      return true;
    }
    tlvs.remove_prefix(3 + length);
  }
  return false;
}

}  // namespace

bool ProxyProtocol::tlv(Str name, const Log& log, const LogContext* who, std::string* value) const {
  Str list = tlvs, rest = name, found;
  const TlvName *begin = std::begin(kTlvs), *end = std::end(kTlvs);
  if (rest.starts_with("ssl_")) {
    if (!find_tlv(list, kSsl, log, who, &list) || list.size() < kSslFixed) return false;
    rest.remove_prefix(4);
    if (rest == "verify") {
      uint32_t result = uint32_t{uint16_at(list, 1)} << 16 | uint16_at(list, 3);
      *value = std::to_string(result);
      return true;
    }
    list.remove_prefix(kSslFixed);
    begin = std::begin(kSslTlvs);
    end = std::end(kSslTlvs);
  }
  unsigned type = 0;
  if (rest.starts_with("0x")) {
    auto [stop, ec] = std::from_chars(rest.data() + 2, rest.data() + rest.size(), type, 16);
    if (ec != std::errc() || stop != rest.data() + rest.size()) {
      log_write(log, who, kLogErr, 0, "invalid PROXY protocol TLV \"%.*s\"", STR(name));
      return false;
    }
  } else {
    auto known = std::find_if(begin, end, [&](const TlvName& one) { return one.name == rest; });
    if (known == end) {
      log_write(log, who, kLogErr, 0, "unknown PROXY protocol TLV \"%.*s\"", STR(name));
      return false;
    }
    type = known->type;
  }
  if (!find_tlv(list, type, log, who, &found)) return false;
  *value = found;
  return true;
}

size_t read_proxy_header(Str bytes, const Log& log, const LogContext* who,
                         std::shared_ptr<const ProxyProtocol>* out) {
  auto header = std::make_shared<ProxyProtocol>();
  bool known = false;
  size_t used = 0;
  if (bytes.size() >= kFixed && bytes.starts_with(kSignature)) {
    used = read_v2(bytes, log, who, header.get(), &known);
  } else {
    Str rest = bytes;
    bool good = bytes.size() >= 8 && bytes.starts_with("PROXY ");
    if (good) {
      rest.remove_prefix(6);
      good = read_v1(&rest, header.get(), &known);
    }
    if (good) {
      used = bytes.size() - rest.size();
    } else {
      Str line = bytes.substr(0, std::min(bytes.find_first_of("\r\n"), bytes.size()));
      log_write(log, who, kLogErr, 0, "broken header: \"%.*s\"", STR(line));
    }
  }
  if (used && known) *out = std::move(header);
  return used;
}

}  // namespace moonphase::http
