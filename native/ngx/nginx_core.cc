// Functions of nginx's own that Lua libraries look up through ffi.C.
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/encode.h"
#include "http/uri.h"
#include "ngx/api.h"
#include "ngx/ffi.h"

using namespace moonphase;
using namespace moonphase::ngx;

namespace {

char* chars(unsigned char* p) { return reinterpret_cast<char*>(p); }

struct Unit {
  Str name;
  int64_t seconds;
};
// Larger first: "1h 30m" may not be written the other way round.
constexpr Unit kUnits[] = {{"y", 365 * 86400}, {"M", 30 * 86400}, {"w", 7 * 86400}, {"d", 86400},
                           {"h", 3600},        {"m", 60},         {"s", 1},         {"ms", 0}};

}  // namespace

// The command line, for those who start it again (`ffi.C.ngx_argv[0]`).
extern "C" {
__attribute__((visibility("default"))) char** ngx_argv = nullptr;
}

namespace moonphase::ngx {

void set_arguments(std::vector<std::string> list) {
  static std::vector<std::string> texts;
  static std::vector<char*> pointers;
  texts = std::move(list);
  pointers.clear();
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  ngx_argv = pointers.data();
}

}  // namespace moonphase::ngx

MOONPHASE_FFI void ngx_encode_base64(NgxStr* dst, NgxStr* src) {
  dst->len = base64_encode(chars(dst->data), str(src->data, src->len));
}
MOONPHASE_FFI void ngx_encode_base64url(NgxStr* dst, NgxStr* src) {
  dst->len = base64_encode(chars(dst->data), str(src->data, src->len), Base64::kUrl, false);
}
MOONPHASE_FFI intptr_t ngx_decode_base64(NgxStr* dst, NgxStr* src) {
  ptrdiff_t n = base64_decode(chars(dst->data), str(src->data, src->len));
  if (n < 0) return kError;
  dst->len = static_cast<size_t>(n);
  return kOk;
}
MOONPHASE_FFI intptr_t ngx_decode_base64url(NgxStr* dst, NgxStr* src) {
  ptrdiff_t n = base64_decode(chars(dst->data), str(src->data, src->len), Base64::kUrl);
  if (n < 0) return kError;
  dst->len = static_cast<size_t>(n);
  return kOk;
}

// Without `dst`: how many bytes would be escaped; else the new end.
MOONPHASE_FFI uintptr_t ngx_escape_uri(unsigned char* dst, unsigned char* src, size_t size,
                                       uintptr_t type) {
  auto kind = static_cast<http::Escape>(type);
  if (!dst) return http::escaped_extra(str(src, size), kind);
  return reinterpret_cast<uintptr_t>(http::escape(chars(dst), str(src, size), kind));
}

MOONPHASE_FFI unsigned char* ngx_hex_dump(unsigned char* dst, unsigned char* src, size_t len) {
  return reinterpret_cast<unsigned char*>(hex_encode(chars(dst), str(src, len)));
}

MOONPHASE_FFI intptr_t ngx_hextoi(unsigned char* line, size_t n) {
  return hex_number(str(line, n));
}

MOONPHASE_FFI intptr_t ngx_atoi(unsigned char* line, size_t n) {
  if (n == 0) return kError;
  intptr_t value = 0;
  for (unsigned char c : str(line, n)) {
    int digit = c - '0';
    if (c < '0' || c > '9') return kError;
    if (value > (std::numeric_limits<intptr_t>::max() - digit) / 10) return kError;
    value = value * 10 + digit;
  }
  return value;
}

// "1h 30m": seconds or milliseconds, or -1. Without a unit the number is seconds.
MOONPHASE_FFI intptr_t ngx_parse_time(NgxStr* line, uintptr_t is_sec) {
  Str rest = str(line->data, line->len);
  if (rest.empty()) return kError;
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max() / 1000 / kUnits[0].seconds;
  int64_t total = 0;
  const Unit* allowed = kUnits;
  while (!rest.empty()) {
    size_t digits = 0;
    int64_t n = 0;
    for (; digits < rest.size() && rest[digits] >= '0' && rest[digits] <= '9'; ++digits) {
      n = n * 10 + (rest[digits] - '0');
      if (n > kMax) return kError;
    }
    if (digits == 0) return kError;
    rest.remove_prefix(digits);
    size_t end = 0;
    while (end < rest.size() && rest[end] != ' ' && (rest[end] < '0' || rest[end] > '9')) ++end;
    Str name = end ? rest.substr(0, end) : Str("s");
    const Unit* unit = allowed;
    while (unit != std::end(kUnits) && unit->name != name) ++unit;
    if (unit == std::end(kUnits) || (is_sec && unit->seconds == 0)) return kError;
    allowed = unit + 1;
    total += unit->seconds ? n * unit->seconds * (is_sec ? 1 : 1000) : n;
    rest.remove_prefix(end);
    while (rest.starts_with(' ')) rest.remove_prefix(1);
  }
  return total;
}
