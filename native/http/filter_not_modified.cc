// If-Modified-Since, If-Unmodified-Since, If-Match, If-None-Match.
#include "http/connection.h"
#include "http/filters.h"

namespace moonphase::http {

namespace {

bool unmodified_since(Request* r) {
  int64_t changed = r->headers_out.last_modified_time;
  return changed != -1 && parse_http_date(r->headers_in.if_unmodified_since->value) >= changed;
}

bool modified_since(Request* r) {
  int64_t changed = r->headers_out.last_modified_time;
  auto rule = r->loc->if_modified_since;
  if (changed == -1 || rule == CoreConf::kImsOff) return true;
  int64_t since = parse_http_date(r->headers_in.if_modified_since->value);
  if (since == changed) return false;
  return rule == CoreConf::kImsExact || since < changed;
}

bool weak(Str s) { return s.size() > 2 && s[0] == 'W' && s[1] == '/'; }

// Is the answer's ETag in the list?
bool etag_in(Request* r, Str list, bool ignore_weak) {
  if (list == "*") return true;
  if (!r->headers_out.etag) return false;
  Str etag = r->headers_out.etag->value;
  if (ignore_weak && weak(etag)) etag.remove_prefix(2);
  while (!list.empty()) {
    if (ignore_weak && weak(list)) list.remove_prefix(2);
    if (etag.size() > list.size()) return false;
    if (list.substr(0, etag.size()) == etag) {
      list.remove_prefix(etag.size());
      while (!list.empty() && (list[0] == ' ' || list[0] == '\t')) list.remove_prefix(1);
      if (list.empty() || list[0] == ',') return true;
    }
    while (!list.empty() && list[0] != ',') list.remove_prefix(1);
    while (!list.empty() && (list[0] == ' ' || list[0] == '\t' || list[0] == ','))
      list.remove_prefix(1);
  }
  return false;
}

}  // namespace

int not_modified_header_filter(Request* r) {
  HeadersIn& in = r->headers_in;
  HeadersOut& out = r->headers_out;
  if (out.status != 200 || !r->is_main() || r->disable_not_modified)
    return next_header(r, Slot::kNotModified);
  bool failed = (in.if_unmodified_since && !unmodified_since(r)) ||
                (in.if_match && !etag_in(r, in.if_match->value, false));
  if (failed) return r->conn->server->hooks.filter_finalize(r, 412);
  if (!in.if_modified_since && !in.if_none_match) return next_header(r, Slot::kNotModified);
  if (in.if_modified_since && modified_since(r)) return next_header(r, Slot::kNotModified);
  if (in.if_none_match && !etag_in(r, in.if_none_match->value, true))
    return next_header(r, Slot::kNotModified);

  out.status = 304;
  out.status_line = Str();
  out.content_type = Str();
  clear_content_length(r);
  clear_accept_ranges(r);
  if (out.content_encoding) {
    out.content_encoding->hash = 0;
    out.content_encoding = nullptr;
  }
  return next_header(r, Slot::kNotModified);
}

}  // namespace moonphase::http
