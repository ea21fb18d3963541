// add_header, add_trailer, expires.
#include <strings.h>
#include <cstdio>

#include "http/connection.h"
#include "http/filters.h"

namespace moonphase::http {

namespace {

bool is_safe(int status) {
  switch (status) {
    case 200:
    case 201:
    case 204:
    case 206:
    case 301:
    case 302:
    case 303:
    case 304:
    case 307:
    case 308:
      return true;
  }
  return false;
}

bool same(Str a, Str lower) {
  return a.size() == lower.size() && strncasecmp(a.data(), lower.data(), a.size()) == 0;
}

void replace(Request* r, Header*& slot, Str name, Str value) {
  if (slot) {
    slot->hash = 0;
    slot = nullptr;
  }
  if (!value.empty()) add_header_out(r, name, value);
}

void add_rule(Request* r, const HeaderRule& rule, Str value) {
  HeadersOut& out = r->headers_out;
  if (same(rule.name, "last-modified")) {
    replace(r, out.last_modified, rule.name, value);
    out.last_modified_time = value.empty() ? -1 : parse_http_date(value);
  } else if (same(rule.name, "etag")) {
    replace(r, out.etag, rule.name, value);
  } else if (same(rule.name, "cache-control") || same(rule.name, "link")) {
    if (!value.empty()) add_header_out(r, rule.name, value);
  } else if (!value.empty()) {
    // A plain line: even a name that the server knows is only added, as nginx does.
    out.list.add(*r->pool, rule.name, value);
  }
}

// "24h", "-1", "1h30m", "@15h30m", epoch, max, off; nginx's ngx_parse_time in seconds.
bool parse_seconds(Str s, int64_t* out) {
  static constexpr struct {
    char unit;
    int64_t seconds;
  } kUnits[] = {{'y', 31536000}, {'M', 2592000}, {'w', 604800}, {'d', 86400},
                {'h', 3600},     {'m', 60},      {'s', 1}};
  if (s.empty()) return false;
  int64_t total = 0;
  size_t next_unit = 0;
  while (!s.empty()) {
    if (s[0] == ' ') {
      s.remove_prefix(1);
      continue;
    }
    int64_t n = 0;
    size_t digits = 0;
    while (digits < s.size() && s[digits] >= '0' && s[digits] <= '9' && digits < 15)
      n = n * 10 + (s[digits++] - '0');
    if (!digits) return false;
    s.remove_prefix(digits);
    int64_t factor = 1;
    if (!s.empty() && s[0] != ' ') {
      size_t u = next_unit;
      while (u < 7 && kUnits[u].unit != s[0]) ++u;
      if (u == 7) return false;
      factor = kUnits[u].seconds;
      next_unit = u + 1;
      s.remove_prefix(1);
    }
    total += n * factor;
  }
  *out = total;
  return true;
}

bool parse_expires(Str s, CoreConf::Expires::Kind* kind, int64_t* time) {
  using E = CoreConf::Expires;
  if (*kind != E::kModified) {
    if (s == "epoch") return *kind = E::kEpoch, true;
    if (s == "max") return *kind = E::kMax, true;
    if (s == "off") return *kind = E::kOff, true;
  }
  bool minus = false;
  if (!s.empty() && s[0] == '@') {
    if (*kind == E::kModified) return false;
    *kind = E::kDaily;
    s.remove_prefix(1);
  } else if (!s.empty() && (s[0] == '+' || s[0] == '-')) {
    minus = s[0] == '-';
    s.remove_prefix(1);
  }
  if (!parse_seconds(s, time)) return false;
  if (*kind == E::kDaily && *time > 86400) return false;
  if (minus) *time = -*time;
  return true;
}

bool set_expires(Request* r) {
  using E = CoreConf::Expires;
  const E& conf = r->loc->expires;
  HeadersOut& out = r->headers_out;
  E::Kind kind = conf.kind;
  int64_t time = conf.time;
  if (!conf.value.empty()) {
    Str text;
    if (!evaluate(r, conf.value, &text)) return false;
    if (!parse_expires(text, &kind, &time) || kind == E::kOff) return true;
  }

  char date[32], age[48];
  Str expires, control;
  if (kind == E::kEpoch) {
    expires = "Thu, 01 Jan 1970 00:00:01 GMT";
    control = "no-cache";
  } else if (kind == E::kMax) {
    expires = "Thu, 31 Dec 2037 23:55:55 GMT";
    control = "max-age=315360000";
  } else if (time == 0 && kind != E::kDaily) {
    expires = http_date();
    control = "max-age=0";
  } else {
    int64_t present = now().wall_sec(), until, max_age;
    if (kind == E::kDaily) {
      until = next_time_of_day(time);
      max_age = until - present;
    } else if (kind == E::kAccess || out.last_modified_time == -1) {
      max_age = time;
      until = present + time;
    } else {
      until = out.last_modified_time + time;
      max_age = until - present;
    }
    expires = {date, format_http_date(date, until)};
    if (time < 0 || max_age < 0)
      control = "no-cache";
    else
      control = {age, static_cast<size_t>(std::snprintf(age, sizeof age, "max-age=%lld",
                                                        static_cast<long long>(max_age)))};
  }
  replace(r, out.expires, "Expires", expires);
  for (Header* h = out.cache_control; h; h = h->same) h->hash = 0;
  out.cache_control = nullptr;
  add_header_out(r, "Cache-Control", control);
  return true;
}

}  // namespace

int headers_header_filter(Request* r) {
  const CoreConf* loc = r->loc;
  bool expires = loc->expires.kind != CoreConf::Expires::kOff || !loc->expires.value.empty();
  if (!r->is_main() || (!expires && loc->add_header.empty() && loc->add_trailer.empty()))
    return next_header(r, Slot::kHeaders);
  bool safe = is_safe(r->headers_out.status);
  if (expires && safe && !set_expires(r)) return kError;
  for (const HeaderRule& rule : loc->add_header) {
    if (!safe && !rule.always) continue;
    Str value;
    if (!evaluate(r, rule.value, &value)) return kError;
    add_rule(r, rule, value);
  }
  for (const HeaderRule& rule : loc->add_trailer)
    if (safe || rule.always) r->expect_trailers = true;
  return next_header(r, Slot::kHeaders);
}

int trailers_body_filter(Request* r, Chain* in) {
  const CoreConf* loc = r->loc;
  if (!in || loc->add_trailer.empty() || !r->expect_trailers || r->header_only)
    return next_body(r, Slot::kHeaders, in);
  bool last = false;
  for (Chain* c = in; c; c = c->next) last |= c->buf->last_buf;
  if (!last) return next_body(r, Slot::kHeaders, in);
  bool safe = is_safe(r->headers_out.status);
  for (const HeaderRule& rule : loc->add_trailer) {
    if (!safe && !rule.always) continue;
    Str value;
    if (!evaluate(r, rule.value, &value)) return kError;
    if (!value.empty()) r->headers_out.trailers.add(*r->pool, rule.name, value);
  }
  return next_body(r, Slot::kHeaders, in);
}

}  // namespace moonphase::http
