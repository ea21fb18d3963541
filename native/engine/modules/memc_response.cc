// What memcached answers: a value with its trailer, or a line (of `stats`, several) that is the
// body as it came.
#include <cstring>

#include "engine/lifecycle.h"
#include "engine/modules/memc.h"
#include "engine/variables/variables.h"
#include "http/headers_in.h"

namespace moonphase::engine::memc {

namespace {

constexpr Str kTrailer = "\r\nEND\r\n";

// The bytes up to CRLF, without it. False: it is not there yet.
bool take_line(Str* rest, Str* line) {
  size_t end = rest->find("\r\n");
  if (end == Str::npos) return false;
  *line = rest->substr(0, end);
  rest->remove_prefix(end + 2);
  return true;
}

bool is_error(Str line) {
  return line == "ERROR" || line.starts_with("CLIENT_ERROR ") || line.starts_with("SERVER_ERROR ");
}

// Digits, and spaces behind them (decr leaves some).
bool is_count(Str line) {
  size_t digits = 0;
  while (digits < line.size() && line[digits] >= '0' && line[digits] <= '9') ++digits;
  return digits > 0 && line.find_first_not_of(' ', digits) == Str::npos;
}

// The status that a complete line stands for; 0: no answer to this command.
int status_of(const Ctx& ctx, Str line) {
  if (is_error(line)) return 502;
  if (ctx.is_storage()) {
    if (line == "STORED") return 201;
    if (line == "NOT_STORED" || line == "EXISTS") return 200;
    return line == "NOT_FOUND" ? 404 : 0;
  }
  switch (ctx.command) {
    case kDelete:
      if (line == "DELETED") return 200;
      return line == "NOT_FOUND" ? 404 : 0;
    case kFlushAll:
      return line == "OK" ? 200 : 0;
    case kVersion:
      return line.size() > 8 && line.starts_with("VERSION ") ? 200 : 0;
    case kIncr:
    case kDecr:
      if (is_count(line)) return 201;
      return line == "NOT_FOUND" ? 404 : 0;
    default:
      return 0;
  }
}

// Could these bytes, without an end of line yet, begin an answer to the command?
bool may_begin(const Ctx& ctx, Str part) {
  static constexpr Str kStorage[] = {"STORED\r\n", "NOT_STORED\r\n", "EXISTS\r\n", "NOT_FOUND\r\n"};
  static constexpr Str kErrors[] = {"ERROR\r\n", "CLIENT_ERROR ", "SERVER_ERROR "};
  auto fits = [&](Str whole) {
    return whole.starts_with(part) || (whole.back() == ' ' && part.starts_with(whole));
  };
  for (Str s : kErrors)
    if (fits(s)) return true;
  if (ctx.is_storage()) {
    for (Str s : kStorage)
      if (fits(s)) return true;
    return false;
  }
  switch (ctx.command) {
    case kDelete:
      return fits("DELETED\r\n") || fits("NOT_FOUND\r\n");
    case kFlushAll:
      return fits("OK\r\n");
    case kVersion:
      return fits("VERSION ");
    case kStats:
      return fits("STAT ") || fits("END\r\n");
    default: {
      Str line = part.ends_with('\r') ? part.substr(0, part.size() - 1) : part;
      return fits("NOT_FOUND\r\n") || is_count(line);
    }
  }
}

// Where the answer ends; kAgain, or 0: it is none. `stats` has many lines.
int parse_lines(const Ctx& ctx, Str* rest) {
  Str line;
  while (!rest->empty()) {
    Str before = *rest;
    if (!take_line(rest, &line)) return may_begin(ctx, before) ? int{kAgain} : 0;
    if (ctx.command != kStats || is_error(line)) return status_of(ctx, line);
    if (line == "END") return 200;
    if (line.size() <= 5 || !line.starts_with("STAT ")) {
      *rest = before;
      return 0;
    }
  }
  return kAgain;
}

int process_lines(Upstream& u, const Ctx& ctx) {
  Str there = u.head_buf.bytes(), rest = there;
  int status = parse_lines(ctx, &rest);
  if (status == kAgain) return kAgain;
  Str answer = there.substr(0, there.size() - rest.size());
  if (status == 0) {
    MOONPHASE_LOG(u.r, kLogErr, 0,
                  "memcached sent invalid response for command \"%.*s\" at pos %zu: %.*s",
                  STR(ctx.command_name), answer.size(), STR(answer));
    u.head.status = u.state->status = 502;
    u.head.content_length_n = 0;
    u.head_buf.last = u.head_buf.pos;
    return kOk;
  }
  // The lines are the body: they stay in the buffer.
  u.head_buf.last = u.head_buf.pos + answer.size();
  u.head.content_length_n = static_cast<int64_t>(answer.size());
  u.head.status = u.state->status = status;
  return kOk;
}

int invalid(Upstream& u, Str line) {
  MOONPHASE_LOG(u.r, kLogErr, 0, "memcached sent invalid response: \"%.*s\"", STR(line));
  return kInvalidHeader;
}

// "VALUE key flags bytes"
int value_line(Upstream& u, Ctx* ctx, Str line) {
  Request* r = u.r;
  Str rest = line.substr(6);
  if (!rest.starts_with(ctx->key)) {
    MOONPHASE_LOG(r, kLogErr, 0, "memcached sent invalid key in response \"%.*s\" for key \"%.*s\"",
                  STR(line), STR(ctx->key));
    return kInvalidHeader;
  }
  rest.remove_prefix(ctx->key.size());
  if (!rest.starts_with(' ')) return invalid(u, line);
  rest.remove_prefix(1);
  size_t space = rest.find(' ');
  if (space == Str::npos) return invalid(u, line);
  Str flags = r->pool->copy(rest.substr(0, space));
  set_indexed(r, ctx->conf->flags, flags);
  if (ctx->conf->flags_to_last_modified)
    r->headers_out.last_modified_time = http::parse_offset(flags);
  int64_t length = http::parse_offset(rest.substr(space + 1));
  if (length < 0) {
    MOONPHASE_LOG(r, kLogErr, 0,
                  "memcached sent invalid length in response \"%.*s\" for key \"%.*s\"", STR(line),
                  STR(ctx->key));
    return kInvalidHeader;
  }
  u.head.content_length_n = length;
  u.head.status = u.state->status = 200;
  return kOk;
}

int process_value(Upstream& u, Ctx* ctx) {
  Buf& b = u.head_buf;
  auto* end = static_cast<char*>(std::memchr(b.pos, '\n', static_cast<size_t>(b.last - b.pos)));
  if (!end) return kAgain;
  Str line = {b.pos, static_cast<size_t>(end - b.pos)};
  if (line.ends_with('\r')) line.remove_suffix(1);
  MOONPHASE_LOG(u.r, kLogDebug, 0, "memcached: \"%.*s\"", STR(line));
  if (line.starts_with("VALUE ")) {
    b.pos = end + 1;
    return value_line(u, ctx, line);
  }
  if (line != "END") return invalid(u, line);
  MOONPHASE_LOG(u.r, kLogInfo, 0, "key: \"%.*s\" was not found by memcached", STR(ctx->key));
  u.head.status = u.state->status = 404;
  return kOk;
}

}  // namespace

int process_header(Upstream& u) {
  auto* ctx = static_cast<Ctx*>(u.data);
  return ctx->command == kGet ? process_value(u, ctx) : process_lines(u, *ctx);
}

int begin_body(Upstream& u) {
  auto* ctx = static_cast<Ctx*>(u.data);
  ctx->trailer = ctx->command == kGet ? static_cast<int64_t>(kTrailer.size()) : 0;
  u.length = u.head.content_length_n + ctx->trailer;
  return kOk;
}

int body(Upstream& u, char* from, char* to) {
  auto* ctx = static_cast<Ctx*>(u.data);
  if (int64_t value = u.length - ctx->trailer; value > 0) {
    char* end = std::min<int64_t>(to - from, value) + from;
    u.pass(from, end);
    u.length -= end - from;
    from = end;
  }
  if (from == to || u.length == 0) return kOk;
  Str got(from, static_cast<size_t>(std::min<int64_t>(to - from, u.length)));
  if (kTrailer.substr(kTrailer.size() - static_cast<size_t>(ctx->trailer), got.size()) != got ||
      to - from > u.length) {
    MOONPHASE_LOG(u.r, kLogErr, 0, "memcached sent invalid trailer");
    u.length = ctx->trailer = 0;
    return kOk;
  }
  ctx->trailer -= static_cast<int64_t>(got.size());
  u.length = ctx->trailer;
  return kOk;
}

}  // namespace moonphase::engine::memc
