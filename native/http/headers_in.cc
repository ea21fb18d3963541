#include "http/headers_in.h"

#include "http/connection.h"
#include "http/names.h"
#include "http/virtual_server.h"

namespace moonphase::http {

namespace {

constexpr KnownIn kKnown[] = {
    {"host", &HeadersIn::host, KnownIn::kHost},
    {"connection", &HeadersIn::connection, KnownIn::kConnection},
    {"if-modified-since", &HeadersIn::if_modified_since, KnownIn::kUnique},
    {"if-unmodified-since", &HeadersIn::if_unmodified_since, KnownIn::kUnique},
    {"if-match", &HeadersIn::if_match, KnownIn::kUnique},
    {"if-none-match", &HeadersIn::if_none_match, KnownIn::kUnique},
    {"user-agent", &HeadersIn::user_agent, KnownIn::kUserAgent},
    {"referer", &HeadersIn::referer, KnownIn::kMulti},
    {"content-length", &HeadersIn::content_length, KnownIn::kUnique},
    {"content-range", &HeadersIn::content_range, KnownIn::kUnique},
    {"content-type", &HeadersIn::content_type, KnownIn::kMulti},
    {"range", &HeadersIn::range, KnownIn::kMulti},
    {"if-range", &HeadersIn::if_range, KnownIn::kUnique},
    {"transfer-encoding", &HeadersIn::transfer_encoding, KnownIn::kUnique},
    {"te", &HeadersIn::te, KnownIn::kMulti},
    {"expect", &HeadersIn::expect, KnownIn::kUnique},
    {"upgrade", &HeadersIn::upgrade, KnownIn::kMulti},
    {"accept-encoding", &HeadersIn::accept_encoding, KnownIn::kMulti},
    {"via", &HeadersIn::via, KnownIn::kMulti},
    {"authorization", &HeadersIn::authorization, KnownIn::kUnique},
    {"proxy-authorization", &HeadersIn::proxy_authorization, KnownIn::kUnique},
    {"keep-alive", &HeadersIn::keep_alive, KnownIn::kMulti},
    {"x-forwarded-for", &HeadersIn::x_forwarded_for, KnownIn::kMulti},
    {"cookie", &HeadersIn::cookie, KnownIn::kMulti},
};
constexpr NameTable<KnownIn, std::size(kKnown), longest_name(kKnown)> kByName(kKnown);

bool contains_nocase(Str s, Str lower) {
  for (size_t i = 0; i + lower.size() <= s.size(); ++i) {
    size_t k = 0;
    while (k < lower.size() && (s[i + k] | 0x20) == (lower[k] | 0x20)) ++k;
    if (k == lower.size()) return true;
  }
  return false;
}

void link_last(HeadersIn& in, const KnownIn* k, Header* h) {
  h->same = nullptr;
  Header** p = &(in.*k->slot);
  while (*p) p = &(*p)->same;
  *p = h;
}

void read_connection(HeadersIn& in, Str value) {
  if (contains_nocase(value, "close"))
    in.connection_type = HeadersIn::kClose;
  else if (contains_nocase(value, "keep-alive"))
    in.connection_type = HeadersIn::kKeepAlive;
}

void read_user_agent(HeadersIn& in, Str ua) {
  in.msie = in.msie6 = in.opera = in.gecko = in.chrome = in.safari = in.konqueror = false;
  size_t at = ua.find("MSIE ");
  if (at != Str::npos && at + 7 < ua.size()) {
    in.msie = true;
    if (ua[at + 6] == '.') {
      char v = ua[at + 5];
      if (v == '4' || v == '5') in.msie6 = true;
      if (v == '6') in.msie6 = ua.find("SV1", at + 8) == Str::npos;
    }
  }
  if (ua.find("Opera") != Str::npos) {
    in.opera = true;
    in.msie = in.msie6 = false;
  }
  if (in.msie || in.opera) return;
  if (ua.find("Gecko/") != Str::npos)
    in.gecko = true;
  else if (ua.find("Chrome/") != Str::npos)
    in.chrome = true;
  else if (ua.find("Safari/") != Str::npos && ua.find("Mac OS X") != Str::npos)
    in.safari = true;
  else if (ua.find("Konqueror") != Str::npos)
    in.konqueror = true;
}

}  // namespace

const KnownIn* known_in(Str lower) { return kByName.find(lower); }

int64_t parse_offset(Str s) {
  if (s.empty()) return -1;
  int64_t v = 0;
  for (char c : s) {
    if (c < '0' || c > '9') return -1;
    if (v > (INT64_MAX - (c - '0')) / 10) return -1;
    v = v * 10 + (c - '0');
  }
  return v;
}

int headers_in_added(Request* r, Header* h) {
  const KnownIn* k = known_in(h->lower);
  if (!k) return kOk;
  HeadersIn& in = r->headers_in;
  Connection* c = r->conn;
  switch (k->kind) {
    case KnownIn::kHost: {
      if (in.host) {
        log_write(
            c->log, c, kLogInfo, 0,
            "client sent duplicate host header: \"%.*s: %.*s\", previous value: \"%.*s: %.*s\"",
            STR(h->name), STR(h->value), STR(in.host->name), STR(in.host->value));
        return 400;
      }
      in.host = h;
      Str host = h->value;
      if (!validate_host(*r->pool, &host)) {
        log_write(c->log, c, kLogInfo, 0, "client sent invalid host header");
        return 400;
      }
      if (!in.server.empty()) return kOk;
      set_virtual_server(r, host);
      in.server = host;
      return kOk;
    }
    case KnownIn::kUnique: {
      Header*& slot = in.*k->slot;
      if (slot) {
        log_write(
            c->log, c, kLogInfo, 0,
            "client sent duplicate header line: \"%.*s: %.*s\", previous value: \"%.*s: %.*s\"",
            STR(h->name), STR(h->value), STR(slot->name), STR(slot->value));
        return 400;
      }
      slot = h;
      return kOk;
    }
    case KnownIn::kConnection:
      link_last(in, k, h);
      read_connection(in, h->value);
      return kOk;
    case KnownIn::kUserAgent:
      link_last(in, k, h);
      read_user_agent(in, h->value);
      return kOk;
    case KnownIn::kMulti:
    case KnownIn::kNothing:
      link_last(in, k, h);
      return kOk;
  }
  return kOk;
}

void headers_in_relink(Request* r, Str lower) {
  r->headers_in_edited = true;
  const KnownIn* k = known_in(lower);
  if (!k) return;
  HeadersIn& in = r->headers_in;
  in.*k->slot = nullptr;
  Header** p = &(in.*k->slot);
  for (auto it = in.list.begin(); it != in.list.end(); ++it) {
    if (!it->hash || it->lower != lower) continue;
    it->same = nullptr;
    *p = &*it;
    p = &it->same;
  }
  Header* h = in.*k->slot;
  if (k->kind == KnownIn::kConnection) {
    in.connection_type = HeadersIn::kNone;
    for (Header* i = h; i; i = i->same) read_connection(in, i->value);
  } else if (k->kind == KnownIn::kUserAgent) {
    read_user_agent(in, h ? h->value : Str());
  } else if (k->kind == KnownIn::kHost) {
    Str host = h ? h->value : Str();
    if (h && validate_host(*r->pool, &host))
      in.server = host;
    else
      in.server = Str();
  } else if (k->slot == &HeadersIn::content_length) {
    in.content_length_n = h ? parse_offset(h->value) : -1;
  }
}

void headers_in_set(Request* r, Str name, const Str* value, bool override) {
  HeaderList& list = r->headers_in.list;
  char* low = r->pool->bytes(name.size());
  for (size_t i = 0; i < name.size(); ++i)
    low[i] = name[i] >= 'A' && name[i] <= 'Z' ? static_cast<char>(name[i] | 0x20) : name[i];
  Str lower{low, name.size()};

  Header* kept = nullptr;
  if (override || !value) {
    for (auto it = list.begin(); it != list.end(); ++it) {
      if (!it->hash || it->lower != lower) continue;
      // The first one keeps its place.
      if (value && !kept)
        kept = &*it;
      else
        it->hash = 0;
    }
  }
  if (kept) {
    char* v = const_cast<char*>(r->pool->c_str(*value));
    kept->value = {v, value->size()};
  } else if (value) {
    list.add(*r->pool, name, *value);
  }
  headers_in_relink(r, lower);
}

}  // namespace moonphase::http
