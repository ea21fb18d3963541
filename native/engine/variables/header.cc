// Variables of headers, cookies and arguments.
#include <strings.h>

#include "base/clock.h"
#include "engine/runtime.h"
#include "engine/variables/core.h"
#include "http/connection.h"
#include "http/headers.h"
#include "http/headers_out.h"

namespace moonphase::engine {

namespace {

using http::Header;
using http::HeaderList;

char variable_char(char c) {
  if (c >= 'A' && c <= 'Z') return static_cast<char>(c | 0x20);
  return c == '-' ? '_' : c;
}

bool same_name(Str header, Str variable) {
  if (header.size() != variable.size()) return false;
  for (size_t i = 0; i < header.size(); ++i)
    if (variable_char(header[i]) != variable[i]) return false;
  return true;
}

// All values of a name, joined by `separator`.
int list_value(Request* r, VarValue* v, const HeaderList& list, Str name, Str separator) {
  size_t count = 0, size = 0;
  const Header* one = nullptr;
  for (const Header& h : list) {
    if (h.hash == 0 || !same_name(h.name, name)) continue;
    ++count;
    size += h.value.size();
    one = &h;
  }
  if (count == 0) return not_found(v);
  if (count == 1) return found(v, one->value);
  size += (count - 1) * separator.size();
  char* start = r->pool->bytes(size);
  char* p = start;
  for (const Header& h : list) {
    if (h.hash == 0 || !same_name(h.name, name)) continue;
    p = std::copy(h.value.begin(), h.value.end(), p);
    if (p != start + size) p = std::copy(separator.begin(), separator.end(), p);
  }
  return found(v, {start, size});
}

int http_any(Request* r, VarValue* v, Str rest, uintptr_t) {
  return list_value(r, v, r->headers_in.list, rest, ", ");
}
int http_cookie(Request* r, VarValue* v, Str, uintptr_t) {
  return list_value(r, v, r->headers_in.list, "cookie", "; ");
}
int sent_http_any(Request* r, VarValue* v, Str rest, uintptr_t) {
  return list_value(r, v, http::sent_headers(r).list, rest, ", ");
}
int sent_trailer_any(Request* r, VarValue* v, Str rest, uintptr_t) {
  return list_value(r, v, r->headers_out.trailers, rest, ", ");
}

int http_single(Request* r, VarValue* v, Str, uintptr_t which) {
  static constexpr Header* http::HeadersIn::*kSlots[] = {
      &http::HeadersIn::host, &http::HeadersIn::user_agent, &http::HeadersIn::referer,
      &http::HeadersIn::content_type};
  static constexpr Str kNames[] = {"host", "user_agent", "referer", "content_type"};
  const Header* h = r->headers_in.*kSlots[which];
  if (!h) return not_found(v);
  if (h->same) return list_value(r, v, r->headers_in.list, kNames[which], ", ");
  return h->hash ? found(v, h->value) : not_found(v);
}

int content_length(Request* r, VarValue* v, Str, uintptr_t) {
  if (r->headers_in.content_length) return found(v, r->headers_in.content_length->value);
  bool unknown_yet = r->reading_body;
  if (!unknown_yet && r->headers_in.content_length_n >= 0)
    return found_number(r, v, r->headers_in.content_length_n);
  not_found(v);
  v->no_cacheable = unknown_yet || r->headers_in.chunked;
  return kOk;
}

int sent_content_type(Request* r, VarValue* v, Str, uintptr_t) {
  const Str type = http::sent_headers(r).content_type;
  return type.empty() ? not_found(v) : found(v, type);
}
int sent_content_length(Request* r, VarValue* v, Str, uintptr_t) {
  const http::HeadersOut& out = http::sent_headers(r);
  if (out.content_length) return found(v, out.content_length->value);
  if (out.content_length_n >= 0) return found_number(r, v, out.content_length_n);
  return not_found(v);
}
int sent_location(Request* r, VarValue* v, Str, uintptr_t) {
  const http::HeadersOut& out = http::sent_headers(r);
  if (out.location) return found(v, out.location->value);
  return list_value(r, v, out.list, "location", ", ");
}
int sent_last_modified(Request* r, VarValue* v, Str, uintptr_t) {
  const http::HeadersOut& out = http::sent_headers(r);
  if (out.last_modified) return found(v, out.last_modified->value);
  if (out.last_modified_time < 0) return not_found(v);
  char* p = r->pool->bytes(32);
  return found(v, {p, format_http_date(p, out.last_modified_time)});
}
int sent_connection(Request* r, VarValue* v, Str, uintptr_t) {
  return found(v, r->headers_out.status == 101 ? "upgrade" : r->keepalive ? "keep-alive" : "close");
}
int sent_keep_alive(Request* r, VarValue* v, Str, uintptr_t) {
  if (!r->keepalive || !r->loc->keepalive_header) return not_found(v);
  VarValue seconds;
  found_number(r, &seconds, r->loc->keepalive_header / 1000);
  return found(v, r->pool->join({"timeout=", seconds.data}));
}
int sent_transfer_encoding(Request* r, VarValue* v, Str, uintptr_t) {
  return r->chunked ? found(v, "chunked") : not_found(v);
}

bool same_start(Str s, Str lower) {
  return s.size() >= lower.size() && strncasecmp(s.data(), lower.data(), lower.size()) == 0;
}

// The value of `name=` in a list of pairs separated by semicolons.
bool cookie_in(Str line, Str name, Str* value) {
  auto skip_spaces = [&] {
    while (line.starts_with(' ')) line.remove_prefix(1);
  };
  while (!line.empty()) {
    if (same_start(line, name)) {
      line.remove_prefix(name.size());
      skip_spaces();
      if (line.starts_with('=')) {
        line.remove_prefix(1);
        skip_spaces();
        *value = line.substr(0, line.find(';'));
        return true;
      }
    }
    size_t semicolon = line.find(';');
    if (semicolon == Str::npos) return false;
    line.remove_prefix(semicolon + 1);
    skip_spaces();
  }
  return false;
}

int proxy_add_x_forwarded_for(Request* r, VarValue* v, Str, uintptr_t) {
  list_value(r, v, r->headers_in.list, "x_forwarded_for", ", ");
  return found(
      v, v->not_found ? r->conn->addr_text : r->pool->join({v->data, ", ", r->conn->addr_text}));
}

int cookie(Request* r, VarValue* v, Str rest, uintptr_t) {
  Str value;
  for (const Header& h : r->headers_in.list)
    if (h.hash && h.lower == "cookie" && cookie_in(h.value, rest, &value)) return found(v, value);
  return not_found(v);
}

int arg(Request* r, VarValue* v, Str rest, uintptr_t) {
  Str value;
  return !rest.empty() && find_argument(r, rest, &value) ? found(v, value) : not_found(v);
}

}  // namespace

bool find_argument(const Request* r, Str name, Str* value) {
  for (Str args = r->args; !args.empty();) {
    size_t end = args.find('&');
    Str pair = args.substr(0, end);
    if (pair.size() > name.size() && pair[name.size()] == '=' && same_start(pair, name)) {
      *value = pair.substr(name.size() + 1);
      return true;
    }
    if (end == Str::npos) break;
    args.remove_prefix(end + 1);
  }
  return false;
}

const VariableDef kHeaderVariables[] = {
    {"http_host", http_single, nullptr, 0, 0},
    {"http_user_agent", http_single, nullptr, 1, 0},
    {"http_referer", http_single, nullptr, 2, 0},
    {"content_type", http_single, nullptr, 3, 0},
    {"proxy_add_x_forwarded_for", proxy_add_x_forwarded_for, nullptr, 0, 0},
    {"http_cookie", http_cookie, nullptr, 0, 0},
    {"content_length", content_length, nullptr, 0, 0},
    {"sent_http_content_type", sent_content_type, nullptr, 0, 0},
    {"sent_http_content_length", sent_content_length, nullptr, 0, 0},
    {"sent_http_location", sent_location, nullptr, 0, 0},
    {"sent_http_last_modified", sent_last_modified, nullptr, 0, 0},
    {"sent_http_connection", sent_connection, nullptr, 0, 0},
    {"sent_http_keep_alive", sent_keep_alive, nullptr, 0, 0},
    {"sent_http_transfer_encoding", sent_transfer_encoding, nullptr, 0, 0},
    {"http_", http_any, nullptr, 0, kVarPrefix},
    {"sent_http_", sent_http_any, nullptr, 0, kVarPrefix},
    {"sent_trailer_", sent_trailer_any, nullptr, 0, kVarPrefix},
    {"cookie_", cookie, nullptr, 0, kVarPrefix},
    {"arg_", arg, nullptr, 0, kVarPrefix | kVarNoCacheable},
    {nullptr, nullptr, nullptr, 0, 0},
};

}  // namespace moonphase::engine
