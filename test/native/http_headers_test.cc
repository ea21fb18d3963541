// Header lists, the known request headers, host names.
#include "http/headers_in.h"

#include <cstring>

#include "http/virtual_server.h"
#include "http_check.h"

using namespace moonphase;
using namespace moonphase::http;

namespace {

void host(const char* in, const char* want) {
  Arena a;
  Str s = in;
  bool ok = validate_host(a, &s);
  if (!want) {
    check(!ok, "impossible host accepted", in);
    return;
  }
  check(ok, "host refused", in);
  same(s, want, in);
}

}  // namespace

int main() {
  Arena a;
  HeaderList list;
  check(!(list.begin() != list.end()), "empty list");
  std::string all, want;
  for (int i = 0; i < 100; ++i) {
    std::string name =
        "X-Name-" + std::string(static_cast<size_t>(i % 20), 'Q') + std::to_string(i);
    Header* h = list.add(a, name, std::to_string(i));
    std::string low = name;
    for (char& c : low)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    same(h->lower, low, name);
    same(h->name, name, name);
    check(h->hash == header_hash(low) && h->hash, "hash", name);
    check(h->value.data()[h->value.size()] == 0, "NUL behind the value");
    want += name + ",";
  }
  for (Header& h : list) all += std::string(h.name) + ",";
  same(all, want, "order");
  check(list.count() == 100, "count");
  check(list.find("x-name-7") == nullptr, "absent");
  Header* h = list.find("x-name-0");
  check(h && h->value == "0", "found");
  list.remove_all("x-name-0");
  check(!list.find("x-name-0"), "removed");
  // Bytes around the letters stay as they are.
  std::string odd;
  for (int c = 1; c < 256; ++c) odd += static_cast<char>(c);
  Header* o = list.add(a, odd, "");
  for (size_t i = 0; i < odd.size(); ++i) {
    char c = odd[i];
    char low = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    if (o->lower[i] != low) check(false, "lower case of byte", std::to_string(i + 1));
  }

  check(known_in("host") && known_in("host")->kind == KnownIn::kHost, "host");
  check(known_in("if-unmodified-since") && known_in("te") && known_in("cookie"), "known");
  check(!known_in("hosts") && !known_in("") && !known_in("x-very-long-header-name-indeed"),
        "unknown");

  check(parse_offset("0") == 0 && parse_offset("9223372036854775807") == INT64_MAX, "offset");
  check(parse_offset("") == -1 && parse_offset("-1") == -1 && parse_offset("1 ") == -1,
        "bad offset");
  check(parse_offset("9223372036854775808") == -1, "overflow");

  Request r;
  r.pool = &a;
  Str close = "close", keep = "Keep-Alive";
  headers_in_set(&r, "Connection", &close, true);
  check(r.headers_in.connection_type == HeadersIn::kClose, "close");
  headers_in_set(&r, "connection", &keep, true);
  check(r.headers_in.connection_type == HeadersIn::kKeepAlive, "keep-alive");
  headers_in_set(&r, "Connection", nullptr, true);
  check(r.headers_in.connection_type == HeadersIn::kNone && !r.headers_in.connection, "removed");
  Str one = "a=1", two = "b=2", length = "12";
  headers_in_set(&r, "Cookie", &one, true);
  headers_in_set(&r, "Cookie", &two, false);
  check(
      r.headers_in.cookie && r.headers_in.cookie->same && r.headers_in.cookie->same->value == "b=2",
      "two cookies");
  headers_in_set(&r, "Content-Length", &length, true);
  check(r.headers_in.content_length_n == 12, "content length");

  host("Example.COM:80", "example.com");
  host("a.b.", "a.b");
  host("[::1]:8080", "[::1]");
  host("[FE80::1]", "[fe80::1]");
  host("a:65535", "a");
  host("a_b~!$&'()*+,;=%41", "a_b~!$&'()*+,;=%41");
  host("a..b", nullptr);
  host(".", nullptr);
  host("", nullptr);
  host(":80", nullptr);
  host("a:65536", nullptr);
  host("a:8x", nullptr);
  host("a/b", nullptr);
  host("a b", nullptr);
  host("[::1", nullptr);
  host("[::1]x", nullptr);
  return g_failures != 0;
}
