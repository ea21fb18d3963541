// $upstream_*: of all tries, also those before an internal redirect.
#include <cstdio>
#include <string>

#include "engine/upstream/upstream.h"
#include "engine/variables/variables.h"

namespace moonphase::engine {

namespace {

// Writes one value per try: "a, b : c", where ':' stands for an internal redirect between two
// upstreams.
template <class Fn>
int each_try(Request* r, VarValue* v, Fn&& text) {
  const UpstreamRecord* states = UpstreamRecord::of(r);
  v->no_cacheable = false;
  if (!states || !states->first) return not_found(v);
  std::string all;
  for (const UpstreamState* s = states->first; s;) {
    text(all, *s);
    bool redirect = !s->peer.data();
    s = s->next;
    if (!s) break;
    if (!redirect && s->peer.data()) {
      all += ", ";
      continue;
    }
    all += " : ";
    if (!s->peer.data()) s = s->next;
  }
  return found(v, r->pool->copy(all));
}

int addr(Request* r, VarValue* v, Str, uintptr_t) {
  return each_try(r, v, [](std::string& to, const UpstreamState& s) { to += s.peer; });
}

int status(Request* r, VarValue* v, Str, uintptr_t) {
  return each_try(r, v, [](std::string& to, const UpstreamState& s) {
    to += s.status ? std::to_string(s.status) : std::string("-");
  });
}

int time_of(Request* r, VarValue* v, Str, uintptr_t which) {
  static constexpr int64_t UpstreamState::*kTimes[] = {
      &UpstreamState::connect_time, &UpstreamState::header_time, &UpstreamState::response_time};
  return each_try(r, v, [which](std::string& to, const UpstreamState& s) {
    int64_t ms = s.*kTimes[which];
    if (ms < 0 || (which == 2 && s.status == 0)) {
      to += '-';
      return;
    }
    char text[32];
    to.append(text, static_cast<size_t>(std::snprintf(text, sizeof text, "%lld.%03d",
                                                      static_cast<long long>(ms / 1000),
                                                      static_cast<int>(ms % 1000))));
  });
}

int bytes_of(Request* r, VarValue* v, Str, uintptr_t which) {
  static constexpr int64_t UpstreamState::*kCounts[] = {
      &UpstreamState::response_length, &UpstreamState::bytes_received, &UpstreamState::bytes_sent};
  return each_try(r, v, [which](std::string& to, const UpstreamState& s) {
    to += std::to_string(s.*kCounts[which]);
  });
}

bool same_name(Str header, Str variable) {
  if (header.size() != variable.size()) return false;
  for (size_t i = 0; i < header.size(); ++i) {
    char c = header[i];
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    if ((c == '-' ? '_' : c) != variable[i]) return false;
  }
  return true;
}

int listed(Request* r, VarValue* v, const http::HeaderList& list, Str name) {
  Str all;
  bool any = false;
  for (const Header& h : list) {
    if (h.hash == 0 || !same_name(h.name, name)) continue;
    all = any ? r->pool->join({all, ", ", h.value}) : h.value;
    any = true;
  }
  return any ? found(v, all) : not_found(v);
}

int header(Request* r, VarValue* v, Str rest, uintptr_t) {
  const Upstream* u = Upstream::of(r);
  return u ? listed(r, v, u->head.list, rest) : not_found(v);
}
int trailer(Request* r, VarValue* v, Str rest, uintptr_t) {
  const Upstream* u = Upstream::of(r);
  return u ? listed(r, v, u->head.trailers, rest) : not_found(v);
}

// The value of the cookie `name` in a Set-Cookie header.
int cookie(Request* r, VarValue* v, Str name, uintptr_t) {
  const Upstream* u = Upstream::of(r);
  if (!u) return not_found(v);
  for (const Header& h : u->head.list) {
    if (h.hash == 0 || h.lower != "set-cookie") continue;
    size_t equals = h.value.find('=');
    if (equals == Str::npos || !same_name(h.value.substr(0, equals), name)) continue;
    Str value = h.value.substr(equals + 1);
    value = value.substr(0, value.find(';'));
    while (value.starts_with(' ')) value.remove_prefix(1);
    while (value.ends_with(' ')) value.remove_suffix(1);
    return found(v, value);
  }
  return not_found(v);
}

const VariableDef kRows[] = {
    {"upstream_addr", addr, nullptr, 0, kVarNoCacheable},
    {"upstream_status", status, nullptr, 0, kVarNoCacheable},
    {"upstream_connect_time", time_of, nullptr, 0, kVarNoCacheable},
    {"upstream_header_time", time_of, nullptr, 1, kVarNoCacheable},
    {"upstream_response_time", time_of, nullptr, 2, kVarNoCacheable},
    {"upstream_response_length", bytes_of, nullptr, 0, kVarNoCacheable},
    {"upstream_bytes_received", bytes_of, nullptr, 1, kVarNoCacheable},
    {"upstream_bytes_sent", bytes_of, nullptr, 2, kVarNoCacheable},
    {"upstream_http_", header, nullptr, 0, kVarPrefix | kVarNoCacheable},
    {"upstream_trailer_", trailer, nullptr, 0, kVarPrefix | kVarNoCacheable},
    {"upstream_cookie_", cookie, nullptr, 0, kVarPrefix | kVarNoCacheable},
    {nullptr, nullptr, nullptr, 0, 0},
};

}  // namespace

void register_upstream() { add_variables(kRows); }

}  // namespace moonphase::engine
