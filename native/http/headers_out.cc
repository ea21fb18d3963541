#include "http/headers_out.h"

#include <strings.h>

#include "base/clock.h"
#include "http/headers_in.h"

namespace moonphase::http {

namespace {

bool same_name(Str a, Str b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

using SlotPtr = Header* HeadersOut::*;

struct Known {
  Str name;
  SlotPtr slot;
  int (*set)(Request* r, SlotPtr slot, Str name, Str value, bool override);
};

void assign(Header* h, Str value) {
  h->value = value;
  h->hash = value.empty() ? 0 : header_hash(h->lower);
}

Header* append(Request* r, Str name, Str value) {
  Header* h = r->headers_out.list.push(*r->pool);
  char* lower = r->pool->bytes(name.size());
  for (size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    lower[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  }
  h->name = name;
  h->lower = {lower, name.size()};
  h->same = nullptr;
  assign(h, value);
  return h;
}

// Gives the value to the first header of that name and removes the others; null when there is none.
Header* replace(Request* r, Str name, Str value) {
  Header* first = nullptr;
  for (Header& h : r->headers_out.list) {
    if (!h.hash || !same_name(h.name, name)) continue;
    assign(&h, first ? Str() : value);
    if (!first) first = &h;
  }
  return first;
}

int set_builtin(Request* r, SlotPtr slot, Str name, Str value, bool override) {
  Header*& known = r->headers_out.*slot;
  if (known) {
    if (!value.empty()) known->name = name;
    assign(known, value);
    return kOk;
  }
  if (override) known = replace(r, name, value);
  if (!known) known = append(r, name, value);
  return kOk;
}

// Several of them make a list through `same`.
int set_multi(Request* r, SlotPtr slot, Str name, Str value, bool override) {
  Header*& head = r->headers_out.*slot;
  if (!override) {
    Header** end = &head;
    for (; *end; end = &(*end)->same) {
      if ((*end)->hash) continue;
      assign(*end, value);
      return kOk;
    }
    *end = append(r, name, value);
    return kOk;
  }
  if (head) {
    for (Header* h = head->same; h; h = h->same) assign(h, Str());
    assign(head, value);
    return kOk;
  }
  // Headers of an upstream are in the list without being known.
  if (Header* h = replace(r, name, value)) {
    h->same = nullptr;
    if (!value.empty()) head = h;
    return kOk;
  }
  head = append(r, name, value);
  return kOk;
}

int set_location(Request* r, SlotPtr slot, Str name, Str value, bool override) {
  set_builtin(r, slot, name, value, override);
  // A local path goes out as it is: the header filter would put scheme and host before what stands
  // in the slot.
  Header*& known = r->headers_out.location;
  if (known && known->value.starts_with('/')) known = nullptr;
  return kOk;
}

int set_last_modified(Request* r, SlotPtr slot, Str name, Str value, bool override) {
  r->headers_out.last_modified_time = value.empty() ? -1 : parse_http_date(value);
  return set_builtin(r, slot, name, value, override);
}

int set_content_length(Request* r, SlotPtr slot, Str name, Str value, bool override) {
  int64_t n = -1;
  if (!value.empty() && (n = parse_offset(value)) < 0) return kError;
  r->headers_out.content_length_n = n;
  return set_builtin(r, slot, name, value, override);
}

int set_type(Request* r, SlotPtr, Str name, Str value, bool override) {
  HeadersOut& out = r->headers_out;
  out.content_type = value;
  out.content_type_len = std::min(value.find(';'), value.size());
  out.content_type_lowcase = Str();
  if (override) replace(r, name, Str());
  return kOk;
}

constexpr Known kKnown[] = {
    {"Server", &HeadersOut::server, set_builtin},
    {"Date", &HeadersOut::date, set_builtin},
    {"Content-Encoding", &HeadersOut::content_encoding, set_builtin},
    {"Location", &HeadersOut::location, set_location},
    {"Refresh", &HeadersOut::refresh, set_builtin},
    {"Last-Modified", &HeadersOut::last_modified, set_last_modified},
    {"Content-Range", &HeadersOut::content_range, set_builtin},
    {"Accept-Ranges", &HeadersOut::accept_ranges, set_builtin},
    {"WWW-Authenticate", &HeadersOut::www_authenticate, set_multi},
    {"Expires", &HeadersOut::expires, set_builtin},
    {"E-Tag", &HeadersOut::etag, set_builtin},
    {"ETag", &HeadersOut::etag, set_builtin},
    {"Content-Length", &HeadersOut::content_length, set_content_length},
    {"Content-Type", nullptr, set_type},
    {"Cache-Control", &HeadersOut::cache_control, set_multi},
    {"Link", &HeadersOut::link, set_multi},
};

}  // namespace

int headers_out_set(Request* r, Str name, Str value, bool override) {
  for (const Known& k : kKnown) {
    if (same_name(k.name, name)) return k.set(r, k.slot, name, value, override);
  }
  if (override && replace(r, name, value)) return kOk;
  if (!value.empty()) append(r, name, value);
  return kOk;
}

void set_content_type_as_sent(Request* r, Str value) {
  HeadersOut& out = r->headers_out;
  out.content_type = value;
  out.content_type_len = value.size();
  out.content_type_lowcase = Str();
  for (size_t at = value.find(';'); at != Str::npos; at = value.find(';', at + 1)) {
    size_t from = std::min(value.find_first_not_of(' ', at + 1), value.size());
    Str rest = value.substr(from);
    if (rest.size() < 8 || !same_name(rest.substr(0, 8), "charset=")) continue;
    out.content_type_len = at;
    rest.remove_prefix(8);
    if (rest.starts_with('"')) rest.remove_prefix(1);
    if (rest.ends_with('"')) rest.remove_suffix(1);
    out.charset = rest;
    return;
  }
}

}  // namespace moonphase::http
