#include "engine/set_filters.h"

#include <ctime>

#include "base/clock.h"
#include "base/encode.h"
#include "base/escape.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"
#include "http/connection.h"
#include "http/headers_in.h"
#include "net/digest.h"

namespace moonphase::engine {

namespace {

using http::Request;

bool failed(Request* r, const char* what) {
  MOONPHASE_LOG(r, kLogErr, 0, "%s", what);
  return false;
}
bool bad_argument(Request* r, const char* what, Str value, bool quoted) {
  const char* quote = quoted ? "\"" : "";
  MOONPHASE_LOG(r, kLogErr, 0, "%s: %s%.*s%s", what, quote, STR(value), quote);
  return false;
}

bool finish(Request* r, const std::string& text, Str* out) {
  *out = r->pool->copy(text);
  return true;
}
bool finish_number(Request* r, int64_t n, Str* out) { return finish(r, std::to_string(n), out); }

// --- escaping and quoting ---

bool escape_uri(Request* r, const Str* v, Str* out) {
  *out = percent_encode(*r->pool, *v, Percent::kSetEscape);
  return true;
}

int hex_digit(char c) {
  int64_t n = hex_number({&c, 1});
  return static_cast<int>(n);
}

// Unlike Lua's decoder, this one drops what is no escape: "%zz" gives "z", "%4z" nothing.
bool unescape_uri(Request* r, const Str* v, Str* out) {
  char* start = r->pool->bytes(v->size());
  char* d = start;
  for (size_t i = 0; i < v->size(); ++i) {
    char c = (*v)[i];
    if (c == '+') {
      *d++ = ' ';
    } else if (c != '%') {
      *d++ = c;
    } else if (++i < v->size()) {
      int high = hex_digit((*v)[i]);
      if (high < 0) {
        *d++ = (*v)[i];
      } else if (++i < v->size()) {
        int low = hex_digit((*v)[i]);
        if (low >= 0) *d++ = static_cast<char>(high << 4 | low);
      }
    }
  }
  *out = {start, static_cast<size_t>(d - start)};
  return true;
}

bool quote_sql_str(Request* r, const Str* v, Str* out) {
  std::string text;
  append_sql_quoted(&text, *v, true);
  return finish(r, text, out);
}

// Length of the sequence that a lead byte starts, as PostgreSQL counts.
size_t utf8_length(unsigned char c) {
  if ((c & 0xe0) == 0xc0) return 2;
  if ((c & 0xf0) == 0xe0) return 3;
  if ((c & 0xf8) == 0xf0) return 4;
  return 1;
}

// Checks the same bytes as the original: of three and four byte sequences the last one, of two byte
// ones the second.
bool is_utf8(Str s) {
  while (!s.empty()) {
    auto lead = static_cast<unsigned char>(s[0]);
    size_t n = utf8_length(lead);
    if (n > s.size()) return false;
    if (n == 1 && lead >= 0x80 && (lead < 0xc2 || lead > 0xf4)) return false;
    if (n > 1) {
      auto last = static_cast<unsigned char>(s[n - 1]);
      if (last < 0x80 || last > 0xbf) return false;
    }
    s.remove_prefix(n);
  }
  return true;
}

bool quote_pgsql_str(Request* r, const Str* v, Str* out) {
  if (v->empty()) {
    *out = "''";
    return true;
  }
  std::string text = "E";
  append_sql_quoted(&text, *v, true);
  if (is_utf8(text)) return finish(r, text, out);
  std::string octal;
  for (unsigned char c : text) {
    if (c < 0x80) {
      octal.push_back(static_cast<char>(c));
      continue;
    }
    octal.append("\\\\");
    for (int shift : {6, 3, 0}) octal.push_back(static_cast<char>('0' + (c >> shift & 7)));
  }
  return finish(r, octal, out);
}

bool quote_json_str(Request* r, const Str* v, Str* out) {
  if (v->empty()) {
    *out = "null";
    return true;
  }
  std::string text;
  append_json_quoted(&text, *v);
  return finish(r, text, out);
}

// --- digests ---

template <void (*digest)(Str, unsigned char*), size_t size>
bool hex_digest(Request* r, const Str* v, Str* out) {
  unsigned char raw[size];
  digest(*v, raw);
  char* text = r->pool->bytes(2 * size);
  hex_encode(text, {reinterpret_cast<char*>(raw), size});
  *out = {text, 2 * size};
  return true;
}

template <void (*digest)(Str, Str, unsigned char*), size_t size>
bool keyed_digest(Request* r, const Str* v, Str* out) {
  char* raw = r->pool->bytes(size);
  digest(v[0], v[1], reinterpret_cast<unsigned char*>(raw));
  *out = {raw, size};
  return true;
}

// --- encodings ---

template <Base64 alphabet>
bool encode_base64(Request* r, const Str* v, Str* out) {
  char* text = r->pool->bytes(base64_encoded_size(v->size()));
  *out = {text, base64_encode(text, *v, alphabet, alphabet == Base64::kStandard)};
  return true;
}
template <Base64 alphabet>
bool decode_base64(Request* r, const Str* v, Str* out) {
  char* bytes = r->pool->bytes(base64_decoded_size(v->size()));
  ptrdiff_t n = base64_decode(bytes, *v, alphabet);
  if (n < 0) {
    return failed(r, alphabet == Base64::kUrl ? "set_decode_base64url: invalid value"
                                              : "set_decode_base64: invalid value");
  }
  *out = {bytes, static_cast<size_t>(n)};
  return true;
}

bool encode_base32(Request* r, const Str* v, Str* out) {
  const auto& conf = loc(r)->set_misc;
  char* text = r->pool->bytes(base32_encoded_size(v->size()));
  *out = {text, base32_encode(text, *v, conf.base32_alphabet, conf.base32_padding)};
  return true;
}
bool decode_base32(Request* r, const Str* v, Str* out) {
  char* bytes = r->pool->bytes(base32_decoded_size(v->size()));
  ptrdiff_t n = base32_decode(bytes, *v, loc(r)->set_misc.base32_alphabet);
  *out = n < 0 ? Str() : Str(bytes, static_cast<size_t>(n));
  return true;
}

bool encode_hex(Request* r, const Str* v, Str* out) {
  char* text = r->pool->bytes(2 * v->size());
  hex_encode(text, *v);
  *out = {text, 2 * v->size()};
  return true;
}
bool decode_hex(Request* r, const Str* v, Str* out) {
  size_t n = v->size() / 2;
  char* bytes = r->pool->bytes(n);
  bool ok = v->size() % 2 == 0;
  for (size_t i = 0; ok && i < n; ++i) {
    int64_t byte = hex_number(v->substr(2 * i, 2));
    ok = byte >= 0;
    bytes[i] = static_cast<char>(byte);
  }
  if (!ok) return failed(r, "set_decode_hex: invalid value");
  *out = {bytes, n};
  return true;
}

// --- time ---

bool local_today(Request* r, const Str*, Str* out) {
  time_t now_sec = now().wall_sec();
  struct tm tm;
  localtime_r(&now_sec, &tm);
  char* text = r->pool->bytes(16);
  *out = {text, strftime(text, 16, "%Y-%m-%d", &tm)};
  return true;
}

template <struct tm* (*split)(const time_t*, struct tm*)>
bool formatted_time(Request* r, const Str* v, Str* out) {
  *out = Str();
  if (v->empty()) return true;
  time_t now_sec = now().wall_sec();
  struct tm tm;
  split(&now_sec, &tm);
  constexpr size_t kRoom = 256;
  char* text = r->pool->bytes(kRoom);
  size_t n = strftime(text, kRoom, r->pool->c_str(*v), &tm);
  *out = {text, n};
  return n > 0;
}

// --- random and counting ---

bool set_random(Request* r, const Str* v, Str* out) {
  int64_t from = http::parse_offset(v[0]), to = http::parse_offset(v[1]);
  if (from < 0) return bad_argument(r, "set_random: bad \"from\" argument", v[0], false);
  if (to < 0) return bad_argument(r, "set_random: bad \"to\" argument", v[1], false);
  if (from > to) std::swap(from, to);
  uint64_t n;
  net::random_bytes(&n, sizeof n);
  return finish_number(r, from + static_cast<int64_t>(n % (static_cast<uint64_t>(to - from) + 1)),
                       out);
}

bool secure_random(Request* r, Str length, Str alphabet, Str* out) {
  constexpr int64_t kMax = 64;
  int64_t n = http::parse_offset(length);
  if (n < 1 || n > kMax) {
    return bad_argument(r, "set_random: bad \"length\" argument", length, false);
  }
  unsigned char entropy[kMax];
  net::random_bytes(entropy, static_cast<size_t>(n));
  char* text = r->pool->bytes(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) text[i] = alphabet[entropy[i] % alphabet.size()];
  *out = {text, static_cast<size_t>(n)};
  return true;
}

constexpr Str kAlphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
bool secure_random_alphanum(Request* r, const Str* v, Str* out) {
  return secure_random(r, *v, kAlphanumeric, out);
}
bool secure_random_lcalpha(Request* r, const Str* v, Str* out) {
  return secure_random(r, *v, kAlphanumeric.substr(0, 26), out);
}

bool set_rotate(Request* r, const Str* v, Str* out) {
  int64_t from = http::parse_offset(v[1]), to = http::parse_offset(v[2]);
  if (from < 0) return bad_argument(r, "set_rotate: bad \"from\" argument value", v[1], true);
  if (to < 0) return bad_argument(r, "set_rotate: bad \"to\" argument value", v[2], true);
  if (from > to) std::swap(from, to);
  int64_t& last = loc(r)->set_misc.rotated;
  int64_t current = v[0].empty() ? -1 : http::parse_offset(v[0]);
  if (current < 0) {
    if (!v[0].empty()) bad_argument(r, "set_rotate: bad current value", v[0], true);
    current = last >= 0 ? last : from - 1;
  }
  ++current;
  if (current > to || current < from) current = from;
  last = current;
  return finish_number(r, current, out);
}

// nginx's ngx_hash_key_lc.
uint32_t lower_hash(Str s) {
  uint64_t h = 0;
  for (unsigned char c : s) h = h * 31 + (c >= 'A' && c <= 'Z' ? c | 0x20 : c);
  return static_cast<uint32_t>(h);
}

bool hashed_upstream(Request* r, const Str* v, Str* out) {
  for (const auto& [name, upstreams] : plan(r).upstream_lists) {
    if (name != v[0]) continue;
    size_t n = upstreams.size();
    *out = n == 0 ? Str() : Str(upstreams[lower_hash(v[1]) % n]);
    return true;
  }
  MOONPHASE_LOG(r, kLogErr, 0, "set_hashed_upstream: upstream list \"%.*s\" not defined yet",
                STR(v[0]));
  return false;
}

bool set_if_empty(Request*, const Str* v, Str* out) {
  *out = v[0].empty() ? v[1] : v[0];
  return true;
}

constexpr SetFilter kFilters[] = {
    {"set_escape_uri", 1, false, true, escape_uri},
    {"set_unescape_uri", 1, false, true, unescape_uri},
    {"set_quote_sql_str", 1, false, true, quote_sql_str},
    {"set_quote_pgsql_str", 1, false, true, quote_pgsql_str},
    {"set_quote_json_str", 1, false, true, quote_json_str},
    {"set_md5", 1, false, true, hex_digest<net::md5, net::kMd5Size>},
    {"set_sha1", 1, false, true, hex_digest<net::sha1, net::kSha1Size>},
    {"set_hmac_sha1", 2, false, false, keyed_digest<net::hmac_sha1, net::kSha1Size>},
    {"set_hmac_sha256", 2, false, false, keyed_digest<net::hmac_sha256, net::kSha256Size>},
    {"set_encode_base64", 1, false, true, encode_base64<Base64::kStandard>},
    {"set_decode_base64", 1, false, true, decode_base64<Base64::kStandard>},
    {"set_encode_base64url", 1, false, true, encode_base64<Base64::kUrl>},
    {"set_decode_base64url", 1, false, true, decode_base64<Base64::kUrl>},
    {"set_encode_base32", 1, false, true, encode_base32},
    {"set_decode_base32", 1, false, true, decode_base32},
    {"set_encode_hex", 1, false, true, encode_hex},
    {"set_decode_hex", 1, false, true, decode_hex},
    {"set_local_today", 0, false, true, local_today},
    {"set_formatted_gmt_time", 1, false, true, formatted_time<gmtime_r>},
    {"set_formatted_local_time", 1, false, true, formatted_time<localtime_r>},
    {"set_random", 2, false, false, set_random},
    {"set_secure_random_alphanum", 1, false, true, secure_random_alphanum},
    {"set_secure_random_lcalpha", 1, false, true, secure_random_lcalpha},
    {"set_rotate", 3, true, false, set_rotate},
    {"set_if_empty", 2, true, false, set_if_empty},
    {"set_hashed_upstream", 2, false, false, hashed_upstream},
};

}  // namespace

const SetFilter* find_set_filter(Str name) {
  for (const SetFilter& f : kFilters) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

int run_set_filter(Request* r, const SetFilter& filter, int variable,
                   const std::vector<Complex>& args) {
  Str values[3];
  int n = 0;
  if (filter.in_place || (filter.args == 1 && args.empty())) {
    VarValue* v = get_flushed(r, variable);
    if (v && !v->not_found) values[n] = v->data;
    ++n;
  }
  for (size_t i = 0; i < args.size() && n < filter.args; ++i) values[n++] = eval(r, args[i]);
  Str result;
  if (!filter.apply(r, values, &result)) return kError;
  set_indexed(r, variable, result);
  return kOk;
}

}  // namespace moonphase::engine
