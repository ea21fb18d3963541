#include "http/gzip.h"

#include <strings.h>

#include "base/clock.h"

namespace moonphase::http {

namespace {

bool same(Str a, Str b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// "q=" is behind us: is the quantity more than 0, and valid?
bool quantity(Str s) {
  if (s.empty() || (s[0] != '0' && s[0] != '1')) return false;
  int q = (s[0] - '0') * 100;
  s.remove_prefix(1);
  if (s.empty() || s[0] == ',' || s[0] == ' ') return q != 0;
  if (s[0] != '.') return false;
  s.remove_prefix(1);
  int digits = 0;
  for (; !s.empty() && s[0] != ',' && s[0] != ' '; s.remove_prefix(1)) {
    if (s[0] < '0' || s[0] > '9') return false;
    q += s[0] - '0';  // as nginx: the sum of the digits says whether there is one but 0
    ++digits;
  }
  return q != 0 && q <= 100 && digits <= 3;
}

bool accepts_gzip(Str value) {
  if (value.starts_with("gzip,")) return true;
  Str s = value;
  for (;;) {
    size_t at = 0;
    while (at + 4 <= s.size() && strncasecmp(s.data() + at, "gzip", 4) != 0) ++at;
    if (at + 4 > s.size()) return false;
    bool begins = s.data() + at == value.data() || s[at - 1] == ',' || s[at - 1] == ' ';
    s.remove_prefix(at + 4);
    if (begins) break;
  }
  while (s.starts_with(' ')) s.remove_prefix(1);
  if (s.empty() || s[0] == ',') return true;
  if (s[0] != ';') return false;
  s.remove_prefix(1);
  while (s.starts_with(' ')) s.remove_prefix(1);
  if (s.empty()) return true;
  if ((s[0] | 0x20) != 'q' || s.size() < 3 || s[1] != '=') return false;
  return quantity(s.substr(2));
}

// Is `name` a token of one of these header lines?
bool has_token(const Header* h, Str name) {
  for (; h; h = h->same) {
    Str s = h->value;
    while (!s.empty()) {
      size_t comma = s.find(',');
      Str token = s.substr(0, comma);
      s = comma == Str::npos ? Str() : s.substr(comma + 1);
      while (token.starts_with(' ')) token.remove_prefix(1);
      if (token.size() < name.size() || !same(token.substr(0, name.size()), name)) continue;
      token.remove_prefix(name.size());
      while (token.starts_with(' ')) token.remove_prefix(1);
      if (token.empty()) return true;
    }
  }
  return false;
}

// For requests that came through a proxy (Via).
bool proxied_ok(Request* r, uint32_t rules) {
  const HeadersOut& out = r->headers_out;
  if (rules & kProxiedOff) return false;
  if (rules & kProxiedAny) return true;
  if (r->headers_in.authorization && (rules & kProxiedAuth)) return true;
  if (out.expires) {
    if (!(rules & kProxiedExpired)) return false;
    int64_t expires = parse_http_date(out.expires->value);
    int64_t date = out.date ? parse_http_date(out.date->value) : now().wall_sec();
    return expires != -1 && date != -1 && expires < date;
  }
  if (out.cache_control) {
    return ((rules & kProxiedNoCache) && has_token(out.cache_control, "no-cache")) ||
           ((rules & kProxiedNoStore) && has_token(out.cache_control, "no-store")) ||
           ((rules & kProxiedPrivate) && has_token(out.cache_control, "private"));
  }
  if ((rules & kProxiedNoLastModified) && out.last_modified) return false;
  return !((rules & kProxiedNoEtag) && out.etag);
}

bool test(Request* r, const GzipConf& conf) {
  const HeadersIn& in = r->headers_in;
  if (!r->is_main() || !in.accept_encoding || !accepts_gzip(in.accept_encoding->value))
    return false;
  if (in.msie6 && conf.disable_msie6) return false;
  if (r->http_version < conf.http_version) return false;
  if (in.via && !proxied_ok(r, conf.proxied)) return false;
  return !(conf.disabled && in.user_agent && conf.disabled(r, in.user_agent->value));
}

}  // namespace

bool gzip_ok(Request* r) {
  if (r->gzip_tested) return r->gzip_ok;
  r->gzip_tested = true;
  return r->gzip_ok = r->loc->gzip && test(r, *r->loc->gzip);
}

bool has_type(const Request* r, const std::vector<std::string>& types) {
  Str type = r->headers_out.content_type.substr(0, r->headers_out.content_type_len);
  for (const std::string& one : types)
    if (same(type, one)) return !type.empty();
  return false;
}

}  // namespace moonphase::http
