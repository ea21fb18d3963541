#include "http/head_fields.h"

#include <charconv>

#include "http/connection.h"
#include "http/gzip.h"
#include "http/output.h"

namespace moonphase::http {

namespace {

Str number(Request* r, int64_t n) {
  char* p = r->pool->bytes(20);
  return {p, static_cast<size_t>(std::to_chars(p, p + 20, n).ptr - p)};
}

Str date(Request* r, int64_t time) {
  char* p = r->pool->bytes(32);
  return {p, format_http_date(p, time)};
}

}  // namespace

Str lower_name(Request* r, const Header& h) {
  if (h.lower.size() == h.name.size()) return h.lower;
  char* p = r->pool->bytes(h.name.size());
  for (size_t i = 0; i < h.name.size(); ++i)
    p[i] = h.name[i] >= 'A' && h.name[i] <= 'Z' ? static_cast<char>(h.name[i] | 0x20) : h.name[i];
  return {p, h.name.size()};
}

int send_fields(Request* r, Str base) {
  HeadersOut& out = r->headers_out;
  const CoreConf* loc = r->loc;
  Connection* c = r->conn;
  if (c->error) return kError;

  constexpr size_t kOwn = 8;
  auto* fields =
      static_cast<HeadField*>(r->pool->alloc((out.list.count() + kOwn) * sizeof(HeadField)));
  size_t n = 0;
  auto add = [&](Str name, Str value) { fields[n++] = {name, value}; };

  char* status = r->pool->bytes(3);
  for (int i = 2, left = out.status; i >= 0; --i, left /= 10)
    status[i] = static_cast<char>('0' + left % 10);
  add(":status", {status, 3});
  Str token = server_token(r);
  if (!out.server && !token.empty()) add("server", token);
  if (!out.date) add("date", r->pool->copy(http_date()));
  if (!out.content_type.empty()) {
    // $sent_http_content_type shows the whole.
    if (out.content_type_len == out.content_type.size() && !out.charset.empty())
      out.content_type = r->pool->join({out.content_type, "; charset=", out.charset});
    add("content-type", out.content_type);
  }
  if (!out.content_length && out.content_length_n >= 0)
    add("content-length", number(r, out.content_length_n));
  if (!out.last_modified && out.last_modified_time != -1)
    add("last-modified", date(r, out.last_modified_time));
  if (out.location && !out.location->value.empty()) {
    // For $sent_http_location.
    if (!base.empty()) {
      out.location->value = r->pool->join({base, out.location->value});
      out.location->name = "Location";
    }
    out.location->hash = 0;
    add("location", out.location->value);
  }
  if (r->gzip_vary) {
    r->gzip_vary = loc->gzip && loc->gzip->vary;
    if (r->gzip_vary) add("vary", "Accept-Encoding");
  }
  for (auto it = out.list.begin(); it != out.list.end(); ++it)
    if (it->hash) add(lower_name(r, *it), it->value);
  const bool end = r->header_only || (out.content_length_n == 0 && !r->expect_trailers);
  return c->send_head(r, fields, n, end);
}

}  // namespace moonphase::http
