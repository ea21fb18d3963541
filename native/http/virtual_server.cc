#include "http/virtual_server.h"

#include <unordered_map>

#include "http/connection.h"

namespace moonphase::http {

namespace {

struct Hash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
};
using NameMap = std::unordered_map<std::string, const ServerCore*, Hash, std::equal_to<>>;

// Lower-case letters and '-'.
struct PlainChars {
  bool yes[256] = {};
  constexpr PlainChars() {
    for (int c = 'a'; c <= 'z'; ++c) yes[c] = true;
    yes[static_cast<int>('-')] = true;
  }
};
constexpr PlainChars kPlain;

bool is_name_char(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) return true;
  switch (c) {
    case '-':
    case '_':
    case '~':
    case '!':
    case '$':
    case '&':
    case '\'':
    case '(':
    case ')':
    case '*':
    case '+':
    case ',':
    case ';':
    case '=':
      return true;
  }
  return false;
}

}  // namespace

struct NameIndex {
  NameMap exact, head, tail;
  bool regex = false;
  bool needed = false;  // more than one server, or names that capture
};

namespace {

__attribute__((noinline)) bool validate_any_host(Arena& a, Str* host) {
  Str s = *host;
  size_t n = s.size();    // without port and final dot
  size_t dot = s.size();  // the last dot
  bool upper = false;
  enum { kStart, kName, kLiteral, kEnd, kPort } state = kStart;
  int port = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    char c = s[i];
    if (state == kStart) {
      state = c == '[' ? kLiteral : kName;
      if (c == '[') continue;
    }
    if (state == kPort) {
      if (c < '0' || c > '9') return false;
      if (port >= 6553 && (port > 6553 || c > '5')) return false;
      port = port * 10 + (c - '0');
      continue;
    }
    if (state == kEnd) {
      if (c != ':') return false;
      state = kPort;
      continue;
    }
    if (c >= 'A' && c <= 'Z') {
      upper = true;
    } else if (c == '.') {
      if (dot == i - 1) return false;
      dot = i;
    } else if (c == ':') {
      if (state == kName) {
        n = i;
        state = kPort;
      }
    } else if (c == ']' && state == kLiteral) {
      n = i + 1;
      state = kEnd;
    } else if (!is_name_char(c) && !(c == '%' && state == kName)) {
      return false;
    }
  }
  if (state == kLiteral) return false;
  if (dot == n - 1) --n;
  if (!n) return false;
  if (upper) {
    char* p = a.bytes(n);
    for (size_t i = 0; i < n; ++i)
      p[i] = s[i] >= 'A' && s[i] <= 'Z' ? static_cast<char>(s[i] | 0x20) : s[i];
    *host = {p, n};
  } else {
    *host = s.substr(0, n);
  }
  return true;
}

}  // namespace

bool validate_host(Arena& a, Str* host) {
  // A plain lower-case name needs no more than this look.
  Str s = *host;
  size_t plain = 0, n = s.size();
  while (plain < n && kPlain.yes[static_cast<unsigned char>(s[plain])]) ++plain;
  return plain == n ? n != 0 : validate_any_host(a, host);
}

namespace {

std::shared_ptr<NameIndex> make_index(const ListenConf* listen) {
  auto x = std::make_shared<NameIndex>();
  for (const ServerCore* s : listen->servers) {
    for (const ServerName& n : s->names) {
      Str name = n.name;
      switch (n.kind) {
        case ServerName::kExact:
          x->exact.try_emplace(n.name, s);
          break;
        case ServerName::kHead:
          // "*.example.com", and ".example.com", which is also the name without the dot.
          if (name.substr(0, 1) == "*")
            name.remove_prefix(1);
          else
            x->exact.try_emplace(std::string(name.substr(1)), s);
          x->head.try_emplace(std::string(name), s);
          break;
        case ServerName::kTail:
          if (!name.empty() && name.back() == '*') name.remove_suffix(1);
          x->tail.try_emplace(std::string(name), s);
          break;
        case ServerName::kRegex:
          x->regex = true;
          break;
      }
    }
  }
  x->needed = listen->servers.size() > 1 || x->regex;
  return x;
}

const ServerCore* find(const NameMap& m, Str key) {
  if (m.empty()) return nullptr;
  auto it = m.find(key);
  return it == m.end() ? nullptr : it->second;
}

const ServerCore* find_server(const NameIndex& x, Str host) {
  if (const ServerCore* s = find(x.exact, host)) return s;
  if (!x.head.empty())
    for (size_t i = host.find('.', 1); i != Str::npos; i = host.find('.', i + 1))
      if (const ServerCore* s = find(x.head, host.substr(i))) return s;
  if (!x.tail.empty())
    for (size_t i = host.rfind('.'); i != Str::npos && i > 0; i = host.rfind('.', i - 1))
      if (const ServerCore* s = find(x.tail, host.substr(0, i + 1))) return s;
  return nullptr;
}

}  // namespace

void set_virtual_server(Request* r, Str host) {
  Connection* c = r->conn;
  const ListenConf* listen = c->listen;
  if (listen->servers.size() <= 1 && (listen->servers.empty() || listen->servers[0]->names.empty()))
    return;
  if (!listen->names) listen->names = make_index(listen);
  const NameIndex& x = *listen->names;
  if (!x.needed) return;
  const ServerCore* s = find_server(x, host);
  if (!s && !host.empty() && x.regex && c->server->hooks.match_regex_name)
    s = c->server->hooks.match_regex_name(listen, r, host);
  if (!s) return;
  r->srv = s;
  r->loc = s->conf;
  c->log = s->conf->error_log;
}

const ServerCore* named_server(const Connection* c, Str host) {
  const ListenConf* listen = c->listen;
  if (!listen->names) listen->names = make_index(listen);
  const NameIndex& x = *listen->names;
  const ServerCore* s = x.needed ? find_server(x, host) : nullptr;
  if (!s && x.regex && c->server->hooks.match_regex_name)
    s = c->server->hooks.match_regex_name(listen, nullptr, host);
  return s;
}

}  // namespace moonphase::http
