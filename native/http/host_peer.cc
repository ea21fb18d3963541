#include "http/host_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>
#include <cstring>

namespace moonphase::http {

namespace {

// As inet_pton has it, in network order; false: it is none.
bool parse_ipv4(Str s, in_addr* out) {
  unsigned char bytes[4];
  const char* p = s.data();
  const char* const end = p + s.size();
  for (int i = 0; i < 4; ++i) {
    if (i && (p == end || *p++ != '.')) return false;
    unsigned n = 0;
    const char* const begin = p;
    while (p < end && *p >= '0' && *p <= '9' && p - begin < 3)
      n = n * 10 + static_cast<unsigned>(*p++ - '0');
    if (p == begin || n > 255 || (*begin == '0' && p - begin > 1)) return false;
    bytes[i] = static_cast<unsigned char>(n);
  }
  if (p != end) return false;
  std::memcpy(out, bytes, sizeof bytes);
  return true;
}

socklen_t parse_address(Str text, sockaddr_storage* out, char* host, size_t size) {
  std::memset(out, 0, sizeof *out);
  const size_t space = text.find(' ');
  Str name = text.substr(0, space);
  if (name.starts_with("::ffff:") && name.find('.') != Str::npos) name.remove_prefix(7);
  unsigned port = 0;
  if (space != Str::npos) std::from_chars(text.data() + space + 1, text.data() + text.size(), port);
  if (!name.empty() && name.size() < size) {
    *put_bytes(host, name) = 0;
    auto* in = reinterpret_cast<sockaddr_in*>(out);
    if (parse_ipv4(name, &in->sin_addr)) {
      in->sin_family = AF_INET;
      in->sin_port = htons(static_cast<uint16_t>(port));
      return sizeof *in;
    }
    auto* in6 = reinterpret_cast<sockaddr_in6*>(out);
    if (inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
      in6->sin6_family = AF_INET6;
      in6->sin6_port = htons(static_cast<uint16_t>(port));
      return sizeof *in6;
    }
  }
  std::strcpy(host, "unix:");
  out->ss_family = AF_UNIX;
  return sizeof(sa_family_t);
}

}  // namespace

void HostedPeer::set_remote(Str text) {
  remote_len = parse_address(text, &remote, host_, sizeof host_);
  host = host_;
}

void HostedPeer::set_local(Str text) {
  char unused[sizeof host_];
  local_len = parse_address(text, &local, unused, sizeof unused);
}

}  // namespace moonphase::http
