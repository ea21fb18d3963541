// Range and If-Range: 206 in one piece or as multipart/byteranges, 416.
#include <strings.h>
#include <charconv>
#include <cstdio>

#include "http/connection.h"
#include "http/filters.h"

namespace moonphase::http {

namespace {

struct Range {
  int64_t start, end;  // [start, end)
  Str content_range;   // "S-E/TOTAL" and the empty line, of multipart answers
  Range* next;
};

struct RangeCtx {
  int64_t offset = 0;  // of the next buffer in the whole body
  Range* first = nullptr;
  unsigned count = 0;
  Str boundary_header;  // CRLF "--BOUNDARY" … "Content-Range: bytes "
  size_t boundary_size = 0;
};

constexpr int kNotSatisfiable = 416;

RangeCtx* ctx_of(Request* r) { return static_cast<RangeCtx*>(r->ctx[Request::kCtxRange]); }

// Digits at p; false when there are none or too many.
bool number(Str& s, int64_t* out) {
  if (s.empty() || s[0] < '0' || s[0] > '9') return false;
  int64_t n = 0;
  while (!s.empty() && s[0] >= '0' && s[0] <= '9') {
    if (n > (INT64_MAX - (s[0] - '0')) / 10) return false;
    n = n * 10 + (s[0] - '0');
    s.remove_prefix(1);
  }
  *out = n;
  return true;
}
void spaces(Str& s) {
  while (!s.empty() && s[0] == ' ') s.remove_prefix(1);
}
bool at_end(Str s) { return s.empty() || s[0] == ',' || s[0] == '\0'; }

// kOk, kDeclined (answer the whole), kNotSatisfiable.
int parse(Request* r, RangeCtx* ctx, int64_t most) {
  if (!r->is_main() && ctx_of(r->main)) {
    ctx->first = ctx_of(r->main)->first;
    ctx->count = ctx_of(r->main)->count;
    return kOk;
  }
  Str s = r->headers_in.range->value.substr(6);
  int64_t length = r->headers_out.content_length_n, total = 0, left = most;
  Range** end_of_list = &ctx->first;
  for (;;) {
    int64_t start = 0, end = 0;
    spaces(s);
    bool suffix = !s.empty() && s[0] == '-';
    bool open = false;
    if (suffix) {
      s.remove_prefix(1);
    } else {
      if (!number(s, &start)) return kNotSatisfiable;
      spaces(s);
      if (s.empty() || s[0] != '-') return kNotSatisfiable;
      s.remove_prefix(1);
      spaces(s);
      open = at_end(s);
    }
    if (open) {
      end = length;
    } else {
      if (!number(s, &end)) return kNotSatisfiable;
      spaces(s);
      if (!at_end(s)) return kNotSatisfiable;
      if (suffix) {
        start = end < length ? length - end : 0;
        end = length - 1;
      }
      end = end >= length ? length : end + 1;
    }
    if (start < end) {
      *end_of_list = r->pool->make<Range>(start, end, Str(), nullptr);
      end_of_list = &(*end_of_list)->next;
      ++ctx->count;
      if (total > INT64_MAX - (end - start)) return kNotSatisfiable;
      total += end - start;
      if (left-- == 0) return kDeclined;
    } else if (start == 0) {
      return kDeclined;
    }
    if (s.empty() || s[0] != ',') break;
    s.remove_prefix(1);
  }
  if (!ctx->count) return kNotSatisfiable;
  if (ctx->count == 1) return kOk;
  if (total > length) return kDeclined;
  // Many tiny ranges cost more than the whole, unless max_ranges was asked for.
  if (most == 0x7fffffff && total + int64_t{ctx->count} * 256 > length + 4096) return kDeclined;
  return kOk;
}

void drop(Header*& h) {
  if (h) h->hash = 0;
  h = nullptr;
}

void single_header(Request* r, RangeCtx* ctx) {
  if (!r->is_main()) return;
  HeadersOut& out = r->headers_out;
  char text[80];
  int n = std::snprintf(
      text, sizeof text, "bytes %lld-%lld/%lld", static_cast<long long>(ctx->first->start),
      static_cast<long long>(ctx->first->end - 1), static_cast<long long>(out.content_length_n));
  drop(out.content_range);
  add_header_out(r, "Content-Range", {text, static_cast<size_t>(n)});
  out.content_length_n = ctx->first->end - ctx->first->start;
  out.content_offset = ctx->first->start;
  drop(out.content_length);
}

void multipart_header(Request* r, RangeCtx* ctx) {
  static thread_local uint64_t counter = 0;
  HeadersOut& out = r->headers_out;
  char boundary[24];
  std::snprintf(boundary, sizeof boundary, "%020llu", static_cast<unsigned long long>(++counter));
  Arena& a = *r->pool;
  Str type = out.content_type;
  if (out.content_type_len == type.size() && !out.charset.empty())
    type = a.join({type, "; charset=", out.charset});
  ctx->boundary_size = 4 + std::strlen(boundary);
  ctx->boundary_header =
      type.empty()
          ? a.join({"\r\n--", boundary, "\r\nContent-Range: bytes "})
          : a.join({"\r\n--", boundary, "\r\nContent-Type: ", type, "\r\nContent-Range: bytes "});
  out.content_type = a.join({"multipart/byteranges; boundary=", boundary});
  out.content_type_len = out.content_type.size();
  out.content_type_lowcase = Str();
  out.charset = Str();
  auto total = static_cast<int64_t>(ctx->boundary_size + 4);
  for (Range* x = ctx->first; x; x = x->next) {
    char text[80];
    int n = std::snprintf(text, sizeof text, "%lld-%lld/%lld\r\n\r\n",
                          static_cast<long long>(x->start), static_cast<long long>(x->end - 1),
                          static_cast<long long>(out.content_length_n));
    x->content_range = a.copy({text, static_cast<size_t>(n)});
    total += static_cast<int64_t>(ctx->boundary_header.size() + x->content_range.size()) +
             (x->end - x->start);
  }
  out.content_length_n = total;
  drop(out.content_length);
  drop(out.content_range);
}

int not_satisfiable(Request* r) {
  HeadersOut& out = r->headers_out;
  out.status = kNotSatisfiable;
  drop(out.content_range);
  char text[40];
  int n = std::snprintf(text, sizeof text, "bytes */%lld",
                        static_cast<long long>(out.content_length_n));
  add_header_out(r, "Content-Range", {text, static_cast<size_t>(n)});
  clear_content_length(r);
  return kNotSatisfiable;
}

// Does If-Range name what we are about to send?
bool if_range_matches(Request* r) {
  Str v = r->headers_in.if_range->value;
  HeadersOut& out = r->headers_out;
  if (v.size() >= 2 && v.back() == '"') return out.etag && out.etag->value == v;
  return out.last_modified_time != -1 && parse_http_date(v) == out.last_modified_time;
}

}  // namespace

int range_header_filter(Request* r) {
  HeadersOut& out = r->headers_out;
  if (r->http_version < kVersion10 || out.status != 200 ||
      (!r->is_main() && !r->subrequest_ranges) || out.content_length_n == -1 || !r->allow_ranges ||
      r->loc->max_ranges == 0)
    return next_header(r, Slot::kRangeHeader);
  Header* asked = r->headers_in.range;
  if (asked && asked->value.size() >= 7 && strncasecmp(asked->value.data(), "bytes=", 6) == 0 &&
      (!r->headers_in.if_range || if_range_matches(r))) {
    auto* ctx = r->pool->make<RangeCtx>();
    ctx->offset = out.content_offset;
    int rc = parse(r, ctx, r->single_range ? 1 : r->loc->max_ranges);
    if (rc == kNotSatisfiable) return not_satisfiable(r);
    if (rc == kOk) {
      r->ctx[Request::kCtxRange] = ctx;
      r->filters |= slot_bit(Slot::kRangeBody);
      out.status = 206;
      out.status_line = Str();
      if (ctx->count == 1)
        single_header(r, ctx);
      else
        multipart_header(r, ctx);
      return next_header(r, Slot::kRangeHeader);
    }
  }
  out.accept_ranges = nullptr;
  add_header_out(r, "Accept-Ranges", "bytes");
  return next_header(r, Slot::kRangeHeader);
}

namespace {

int single_body(Request* r, RangeCtx* ctx, Chain* in) {
  Chain *out = nullptr, **end = &out;
  const Range& x = *ctx->first;
  for (; in; in = in->next) {
    Buf* b = in->buf;
    int64_t start = ctx->offset, last = start + b->size();
    ctx->offset = last;
    if (b->special()) {
      if (x.end <= start) continue;
    } else if (x.end <= start || x.start >= last) {
      // Not a byte of it is wanted.
      if (b->in_file) b->file_pos = b->file_last;
      b->pos = b->last;
      b->sync = true;
      continue;
    } else {
      if (x.start > start) {
        if (b->in_file) b->file_pos += x.start - start;
        if (b->in_memory()) b->pos += x.start - start;
      }
      if (x.end <= last) {
        if (b->in_file) b->file_last -= last - x.end;
        if (b->in_memory()) b->last -= last - x.end;
        b->last_buf = r->is_main();
        b->last_in_chain = true;
      }
    }
    *end = make_chain(*r->pool, b);
    end = &(*end)->next;
  }
  return next_body(r, Slot::kRangeBody, out);
}

int multipart_body(Request* r, RangeCtx* ctx, Chain* in) {
  Arena& a = *r->pool;
  Buf* whole = in->buf;
  Chain *out = nullptr, **end = &out;
  auto add = [&](Buf* b) {
    *end = make_chain(a, b);
    end = &(*end)->next;
  };
  for (Range* x = ctx->first; x; x = x->next) {
    add(buf_of(a, ctx->boundary_header));
    add(buf_of(a, x->content_range));
    Buf* b = make_buf(a);
    b->in_file = whole->in_file;
    b->temporary = whole->temporary;
    b->memory = whole->memory;
    b->file = whole->file;
    if (whole->in_file) {
      b->file_pos = whole->file_pos + x->start;
      b->file_last = whole->file_pos + x->end;
    }
    if (whole->in_memory()) {
      b->pos = whole->pos + x->start;
      b->last = whole->pos + x->end;
    }
    add(b);
  }
  Buf* tail = buf_of(a, a.join({ctx->boundary_header.substr(0, ctx->boundary_size), "--\r\n"}));
  tail->last_buf = true;
  add(tail);
  return next_body(r, Slot::kRangeBody, out);
}

}  // namespace

int range_body_filter(Request* r, Chain* in) {
  RangeCtx* ctx = ctx_of(r);
  if (!in || !ctx) return next_body(r, Slot::kRangeBody, in);
  if (ctx->count == 1) return single_body(r, ctx, in);
  Buf* b = in->buf;
  if (b->special()) return next_body(r, Slot::kRangeBody, in);
  // Several ranges need the whole body in one buffer.
  bool overlapped = ctx->offset != 0;
  if (!overlapped && !b->last_buf)
    for (Range* x = ctx->first; x; x = x->next) overlapped |= x->start < 0 || x->end > b->size();
  if (overlapped) {
    log_write(r->conn->log, r->conn, kLogAlert, 0, "range in overlapped buffers");
    return kError;
  }
  ctx->offset = b->size();
  return multipart_body(r, ctx, in);
}

}  // namespace moonphase::http
