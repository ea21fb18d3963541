// How an HTTP/1 answer is read: status line, header lines, body in chunks or by length; and
// proxy_redirect.
#include <algorithm>
#include <cstdio>

#include "engine/lifecycle.h"
#include "engine/modules/proxy.h"
#include "engine/variables/variables.h"
#include "http/chunked.h"

namespace moonphase::engine::proxy {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "HTTP/1.1 200 OK". False: it is none.
bool parse_status_line(Str line, int* version, int* status, Str* text) {
  if (!line.starts_with("HTTP/")) return false;
  line.remove_prefix(5);
  int numbers[2] = {0, 0};
  for (int i = 0; i < 2; ++i) {
    size_t digits = 0;
    for (; !line.empty() && is_digit(line[0]) && digits < 3; ++digits, line.remove_prefix(1))
      numbers[i] = numbers[i] * 10 + (line[0] - '0');
    if (digits == 0 || (i == 0 && !line.starts_with('.'))) return false;
    if (i == 0) line.remove_prefix(1);
  }
  if (!line.starts_with(' ')) return false;
  while (line.starts_with(' ')) line.remove_prefix(1);
  *text = line;
  if (line.size() < 3 || !is_digit(line[0]) || !is_digit(line[1]) || !is_digit(line[2]))
    return false;
  *status = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
  if (line.size() > 3 && line[3] != ' ') return false;
  *version = numbers[0] * 1000 + numbers[1];
  return true;
}

// `at`: the byte that is wrong.
bool invalid_line(Request* r, const char* what, Str line, size_t at) {
  int wrong = at < line.size() ? static_cast<unsigned char>(line[at]) : '\n';
  MOONPHASE_LOG(r, kLogErr, 0, "upstream sent invalid %s: \"%.*s\\x%02x...\"", what,
                STR(line.substr(0, at)), wrong);
  return false;
}

// Name and value of a line without its end; `what` it is a line of. False: it is none (logged).
bool split_line(Request* r, const char* what, Str line, Str* name, Str* value) {
  size_t colon = line.find(':');
  *name = line.substr(0, colon);
  *value = colon == Str::npos ? Str() : line.substr(colon + 1);
  if (name->empty()) return invalid_line(r, what, line, 0);
  for (size_t i = 0; i < name->size(); ++i)
    if (static_cast<unsigned char>((*name)[i]) <= 0x20 || (*name)[i] == 0x7f)
      return invalid_line(r, what, line, i);
  for (size_t i = 0; i < value->size(); ++i)
    if ((*value)[i] == '\0' || (*value)[i] == '\r')
      return invalid_line(r, what, line, name->size() + 1 + i);
  while (value->starts_with(' ')) value->remove_prefix(1);
  while (value->ends_with(' ')) value->remove_suffix(1);
  return true;
}

int header_line(Upstream& u, Str line) {
  Str name, value;
  if (!split_line(u.r, "header", line, &name, &value)) return kInvalidHeader;
  return upstream_header_line(u, u.head.list.add(*u.r->pool, name, value));
}

// A line that ends with LF, without its end. False: more must come.
bool next_line(Buf& b, Str* line) {
  auto* end = static_cast<char*>(std::memchr(b.pos, '\n', static_cast<size_t>(b.last - b.pos)));
  if (!end) return false;
  *line = {b.pos, static_cast<size_t>(end - b.pos)};
  b.pos = end + 1;
  if (line->ends_with('\r')) line->remove_suffix(1);
  return true;
}

// Bytes that can't begin an HTTP/1 answer: such a server speaks HTTP/0.9.
bool no_status_line(const Buf& b) {
  Str there(b.pos, std::min<size_t>(5, static_cast<size_t>(b.last - b.pos)));
  return !Str("HTTP/").starts_with(there);
}

// Takes trailer lines from `from`, which moves. kDone: they have ended; kAgain; kError (logged).
int take_trailers(Upstream& u, char*& from, char* to) {
  Request* r = u.r;
  Buf& b = static_cast<Ctx*>(u.data)->trailer;
  const auto n = static_cast<size_t>(std::min(to - from, b.end - b.last));
  b.last = put_bytes(b.last, {from, n});
  from += n;
  Str line, name, value;
  while (next_line(b, &line)) {
    if (!line.empty()) {
      if (!split_line(r, "trailer", line, &name, &value)) return kError;
      MOONPHASE_LOG(r, kLogDebug, 0, "http proxy trailer: \"%.*s: %.*s\"", STR(name), STR(value));
      u.head.trailers.add(*r->pool, name, value);
      continue;
    }
    from -= b.last - b.pos;
    return kDone;
  }
  if (b.last < b.end) return kAgain;
  MOONPHASE_LOG(r, kLogErr, 0, "upstream sent too big trailers");
  return kError;
}

}  // namespace

void restart(Upstream& u) {
  auto* ctx = static_cast<Ctx*>(u.data);
  ctx->state = Ctx::kStatusLine;
  ctx->chunks = nullptr;
}

int process_header(Upstream& u) {
  auto* ctx = static_cast<Ctx*>(u.data);
  Request* r = u.r;
  for (;;) {
    char* begin = u.head_buf.pos;
    if (ctx->state == Ctx::kStatusLine) {
      Str line;
      int version = 0, status = 0;
      Str text;
      bool none = no_status_line(u.head_buf);
      if (!none) {
        if (!next_line(u.head_buf, &line)) return kAgain;
        none = !parse_status_line(line, &version, &status, &text);
      }
      if (none) {
        u.head_buf.pos = begin;
        MOONPHASE_LOG(r, kLogErr, 0, "upstream sent no valid HTTP/1.0 header");
        r->http_version = http::kVersion09;
        u.state->status = 200;
        u.head.connection_close = true;
        return kOk;
      }
      u.head.status = status;
      u.head.status_line = r->pool->copy(text);
      u.head.connection_close = version < http::kVersion11;
      ctx->state = Ctx::kHeaders;
      continue;
    }
    Str line;
    if (!next_line(u.head_buf, &line)) return kAgain;
    if (!line.empty()) {
      if (int rc = header_line(u, line); rc != kOk) return rc;
      continue;
    }
    // 1xx announce another answer; 101 would be the end of HTTP on this connection.
    if (u.head.status >= 100 && u.head.status < 200 && u.head.status != 101) {
      u.head = UpstreamHead();
      ctx->state = Ctx::kStatusLine;
      continue;
    }
    break;
  }
  u.state->status = u.head.status;
  if (u.head.status == 101) {
    u.upgraded = r->headers_in.upgrade != nullptr;
    u.keepalive = false;
    return kOk;
  }
  if (u.head.chunked) u.head.content_length_n = -1;
  // An answer without a body ends here, also where nobody reads on (HEAD, X-Accel-Redirect).
  if (u.head.status == 204 || u.head.status == 304 || ctx->head ||
      (!u.head.chunked && u.head.content_length_n == 0))
    u.keepalive = !u.head.connection_close && u.head_buf.pos == u.head_buf.last;
  return kOk;
}

int begin_body(Upstream& u) {
  auto* ctx = static_cast<Ctx*>(u.data);
  if (u.head.status == 204 || u.head.status == 304 || ctx->head) {
    u.length = 0;
  } else if (u.head.chunked) {
    auto* decoder = new (u.r->pool->alloc(sizeof(http::ChunkDecoder))) http::ChunkDecoder;
    decoder->init();
    decoder->keep_trailer = u.conf->pass_trailers;
    ctx->chunks = decoder;
    u.length = 1;
  } else {
    u.length = u.head.content_length_n;
  }
  return kOk;
}

int body(Upstream& u, char* from, char* to) {
  auto* ctx = static_cast<Ctx*>(u.data);
  if (!ctx->chunks) {
    if (u.length == -1) {
      u.pass(from, to);
      return kOk;
    }
    bool more = false;
    if (to - from > u.length) {
      MOONPHASE_LOG(u.r, kLogWarn, 0,
                    "upstream sent more data than specified in \"Content-Length\" header");
      to = from + u.length;
      more = true;
    }
    u.pass(from, to);
    u.length -= to - from;
    if (u.length == 0) u.keepalive = !more && !u.head.connection_close;
    return kOk;
  }
  auto* decoder = static_cast<http::ChunkDecoder*>(ctx->chunks);
  const http::ChunkDecoder::Sink sink{
      [](void*, uint64_t) { return true; },
      [](void* p, char* at, size_t n) { static_cast<Upstream*>(p)->pass(at, at + n); }, &u};
  int rc = ctx->trailer.start ? int{kDeclined} : decoder->decode(from, to, sink);
  if (rc == kDeclined) {
    if (Buf& b = ctx->trailer; !b.start) {
      b.start = b.pos = b.last = u.r->pool->bytes(u.conf->buffer_size);
      b.end = b.start + u.conf->buffer_size;
    }
    rc = take_trailers(u, from, to);
    if (rc == kError) return rc;
  }
  if (rc == kAgain) return kOk;
  if (rc == kDone) {
    if (from != to) MOONPHASE_LOG(u.r, kLogWarn, 0, "upstream sent data after final chunk");
    u.length = 0;
    u.keepalive = from == to && !u.head.connection_close;
    return kOk;
  }
  MOONPHASE_LOG(u.r, kLogErr, 0, "upstream sent invalid chunked response");
  return kError;
}

// `pattern` at the start of the value, or the regex instead of all of it.
bool rewrite_by_prefix(Request* r, const ProxyRedirect& rule, Str value, Str* to) {
  Str rest;
  if (rule.regex) {
    if (match_regex(r, *rule.regex, value) != kOk) return false;
  } else {
    Str pattern = eval(r, rule.pattern);
    if (!value.starts_with(pattern)) return false;
    rest = value.substr(pattern.size());
  }
  *to = r->pool->join({eval(r, rule.replacement), rest});
  return true;
}

bool rewrite_location(Upstream& u, Header* h, size_t prefix) {
  Request* r = u.r;
  const ProxyConf* conf = static_cast<Ctx*>(u.data)->conf;
  for (const ProxyRedirect& rule : conf->redirects) {
    Str value;
    if (!rewrite_by_prefix(r, rule, h->value.substr(prefix), &value)) continue;
    Str joined = r->pool->join({h->value.substr(0, prefix), value, Str("\0", 1)});
    h->value = joined.substr(0, joined.size() - 1);
    return true;
  }
  return false;
}

}  // namespace moonphase::engine::proxy
