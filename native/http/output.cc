// The filter table, the two ways in, and what fills response headers.
#include "http/output.h"

#include <strings.h>
#include <cstdio>

#include "http/connection.h"
#include "http/filters.h"
#include "http/gzip.h"

namespace moonphase::http {

void register_http_filters() {
  FilterTable& t = filters();
  t.add(Slot::kNotModified, not_modified_header_filter, nullptr);
  t.add(Slot::kRangeBody, nullptr, range_body_filter);
  t.add(Slot::kCopy, nullptr, copy_body_filter);
  t.add(Slot::kHeaders, headers_header_filter, trailers_body_filter);
  t.add(Slot::kPostpone, nullptr, postpone_body_filter);
  t.add(Slot::kGunzip, gunzip_header_filter, gunzip_body_filter);
  t.add(Slot::kGzip, gzip_header_filter, gzip_body_filter);
  t.add(Slot::kRangeHeader, range_header_filter, nullptr);
  t.add(Slot::kChunked, chunked_header_filter, chunked_body_filter);
  t.add(Slot::kHeader, header_filter, nullptr);
  t.add(Slot::kWrite, nullptr, write_filter);
}

int send_header(Request* r) {
  if (r->post_action) return kOk;
  if (r->header_sent) {
    log_write(r->conn->log, r->conn, kLogAlert, 0, "header already sent");
    return kError;
  }
  if (r->err_status) {
    r->headers_out.status = r->err_status;
    r->headers_out.status_line = Str();
  }
  return filters().header(r, ~0u);
}

namespace {

int hold(Request* r, Chain* in) {
  if (in) {
    auto* chunk = r->pool->make<HeldChunk>();
    chain_add_copy(*r->pool, &chunk->in, in);
    HeldChunk** end = &r->held;
    while (*end) end = &(*end)->next;
    *end = chunk;
  }
  r->buffered_bits |= kLuaBuffered;
  return kAgain;
}

}  // namespace

int output(Request* r, Chain* in) {
  if (r->header_held) return hold(r, in);
  int rc = filters().body(r, ~0u, in);
  // Whichever filter has failed: the answer can't go on.
  if (rc == kError) r->conn->error = true;
  return rc;
}

int send_special(Request* r, unsigned flags) {
  Buf* b = make_buf(*r->pool);
  if (flags & kSendLast) {
    if (r->is_main() && !r->post_action) {
      b->last_buf = true;
    } else {
      b->sync = true;
      b->last_in_chain = true;
    }
  }
  if (flags & kSendFlush) b->flush = true;
  Chain c{b, nullptr};
  return output(r, &c);
}

int send_last(Request* r) { return send_special(r, kSendLast); }

namespace {

struct KnownOut {
  Str lower;
  Header* HeadersOut::*slot;
};
constexpr KnownOut kKnown[] = {
    {"server", &HeadersOut::server},
    {"date", &HeadersOut::date},
    {"content-length", &HeadersOut::content_length},
    {"content-encoding", &HeadersOut::content_encoding},
    {"location", &HeadersOut::location},
    {"refresh", &HeadersOut::refresh},
    {"last-modified", &HeadersOut::last_modified},
    {"content-range", &HeadersOut::content_range},
    {"accept-ranges", &HeadersOut::accept_ranges},
    {"www-authenticate", &HeadersOut::www_authenticate},
    {"expires", &HeadersOut::expires},
    {"etag", &HeadersOut::etag},
    {"cache-control", &HeadersOut::cache_control},
    {"link", &HeadersOut::link},
};

}  // namespace

Header* add_header_out(Request* r, Str name, Str value) {
  HeadersOut& out = r->headers_out;
  Header* h = out.list.add(*r->pool, name, value);
  for (const KnownOut& k : kKnown) {
    if (k.lower != h->lower) continue;
    Header** slot = &(out.*k.slot);
    // Several of one name hang together: Cache-Control, Link, WWW-Authenticate.
    while (*slot && (*slot)->hash) slot = &(*slot)->same;
    *slot = h;
    break;
  }
  return h;
}

namespace {
void clear(Header*& h) {
  for (Header* i = h; i; i = i->same) i->hash = 0;
  h = nullptr;
}
}  // namespace

void clear_content_length(Request* r) {
  r->headers_out.content_length_n = -1;
  clear(r->headers_out.content_length);
}
void clear_accept_ranges(Request* r) {
  r->allow_ranges = false;
  clear(r->headers_out.accept_ranges);
}
void clear_last_modified(Request* r) {
  r->headers_out.last_modified_time = -1;
  clear(r->headers_out.last_modified);
}
void clear_etag(Request* r) { clear(r->headers_out.etag); }
void clear_location(Request* r) { clear(r->headers_out.location); }

void weak_etag(Request* r) {
  Header* e = r->headers_out.etag;
  if (!e) return;
  if (e->value.size() > 2 && e->value.substr(0, 2) == "W/") return;
  if (e->value.empty() || e->value[0] != '"') {
    clear_etag(r);
    return;
  }
  Str joined = r->pool->join({"W/", e->value, Str("\0", 1)});
  e->value = joined.substr(0, joined.size() - 1);
}

int set_etag(Request* r) {
  if (!r->loc->etag) return kOk;
  char text[64];
  int n = std::snprintf(text, sizeof text, "\"%llx-%llx\"",
                        static_cast<unsigned long long>(r->headers_out.last_modified_time),
                        static_cast<unsigned long long>(r->headers_out.content_length_n));
  r->headers_out.etag = nullptr;
  add_header_out(r, "ETag", {text, static_cast<size_t>(n)});
  return kOk;
}

int set_content_type(Request* r) {
  HeadersOut& out = r->headers_out;
  if (!out.content_type.empty()) return kOk;
  const CoreConf* loc = r->loc;
  Str type = loc->default_type;
  if (!r->exten.empty() && r->exten.size() < 64) {
    char low[64];
    for (size_t i = 0; i < r->exten.size(); ++i) {
      char c = r->exten[i];
      low[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    }
    auto it = loc->types.find(std::string(low, r->exten.size()));
    if (it != loc->types.end()) type = it->second;
  }
  out.content_type = type;
  out.content_type_len = type.size();
  return kOk;
}

bool evaluate(Request* r, const Complex& value, Str* out) {
  if (value.literal()) {
    *out = value.text;
    return true;
  }
  auto* hook = r->conn->server->hooks.evaluate;
  return hook && hook(r, value, out);
}

int64_t evaluate_size(Request* r, const Complex& value) {
  Str s;
  if (value.empty() || !evaluate(r, value, &s)) return 0;
  int64_t unit = 1;
  if (!s.empty()) {
    char last = static_cast<char>(s.back() | 0x20);
    if (last == 'k') unit = 1024;
    if (last == 'm') unit = 1024 * 1024;
    if (unit > 1) s.remove_suffix(1);
  }
  int64_t n = 0;
  for (char c : s) {
    if (c < '0' || c > '9' || n > INT64_MAX / 20 / unit) return 0;
    n = n * 10 + (c - '0');
  }
  return n * unit;
}

}  // namespace moonphase::http
