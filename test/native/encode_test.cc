// Escaping and encodings: known answers, round trips, refusals.
#include "base/encode.h"

#include <cstdio>

#include "base/escape.h"
#include "base/log.h"

using namespace moonphase;

namespace {

int failures = 0;

void expect(Str what, Str got, Str wanted) {
  if (got == wanted) return;
  fprintf(stderr, "%.*s: got \"%.*s\", wanted \"%.*s\"\n", STR(what), STR(got), STR(wanted));
  ++failures;
}

std::string escaped(Str s, Percent set) {
  std::string out;
  append_percent(&out, s, set);
  return out;
}
std::string unescaped(Str s) {
  std::string out(s);
  out.resize(static_cast<size_t>(percent_decode(out.data(), out) - out.data()));
  return out;
}

void percent() {
  std::string all;
  for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
  for (int set = 0; set <= static_cast<int>(Percent::kSetEscape); ++set) {
    auto kind = static_cast<Percent>(set);
    std::string text = escaped(all, kind);
    expect("size", std::to_string(text.size()),
           std::to_string(all.size() + 2 * percent_count(all, kind)));
    bool escapes_percent = escaped("%", kind) == "%25";
    bool keeps_plus = escaped("+", kind) == "+";
    if (escapes_percent && !keeps_plus) expect("round trip", unescaped(text), all);
  }
  expect("component", escaped("a b&c=d/é~!*'()", Percent::kComponent),
         "a%20b%26c%3Dd%2F%C3%A9~!*'()");
  expect("uri", escaped("/a b?c#d%e", Percent::kUri), "/a%20b%3Fc%23d%25e");
  expect("header name", escaped("X Foo:", Percent::kHeaderName), "X%20Foo%3A");
  expect("header value", escaped("a\r\nb\tc", Percent::kHeaderValue), "a%0D%0Ab\tc");
  expect("plus", unescaped("a+b%20c"), "a b c");
  expect("no escapes", unescaped("%zz%4%"), "%zz%4%");
}

void quoting() {
  std::string out;
  append_sql_quoted(&out, Str("a'b\"\\\n\r\t\b\0\x1a$", 12), false);
  expect("sql", out, "'a\\'b\\\"\\\\\\n\\r\\t\\b\\0\\Z$'");
  out.clear();
  append_json_quoted(&out, Str("\x01\"\\/\n\x7f", 6));
  expect("json", out, "\"\\u0001\\\"\\\\/\\n\x7f\"");
  out.clear();
  append_log_escaped(&out, "a\x01\"\xff");
  expect("log", out, "a\\x01\\x22\\xFF");
}

std::string base64(Str s, bool padding) {
  std::string out(base64_encoded_size(s.size()), 0);
  out.resize(base64_encode(out.data(), s, Base64::kStandard, padding));
  return out;
}
template <class F>
std::string decoded(Str s, F decode) {
  std::string out(s.size() + 8, 0);
  ptrdiff_t n = decode(out.data(), s);
  if (n < 0) return "(error)";
  out.resize(static_cast<size_t>(n));
  return out;
}

void bases() {
  auto standard = [](char* d, Str s) { return base64_decode(d, s); };
  auto url = [](char* d, Str s) { return base64_decode(d, s, Base64::kUrl); };
  std::string bytes;
  for (int i = 0; i < 100; ++i) {
    expect("base64", decoded(base64(bytes, true), standard), bytes);
    expect("base64 unpadded", decoded(base64(bytes, false), standard), bytes);
    std::string text(base32_encoded_size(bytes.size()), 0);
    text.resize(base32_encode(text.data(), bytes, kBase32Alphabet, i % 2));
    expect("base32",
           decoded(text, [](char* d, Str s) { return base32_decode(d, s, kBase32Alphabet); }),
           bytes);
    bytes.push_back(static_cast<char>(i * 37));
  }
  expect("base64", base64("any carnal pleas", true), "YW55IGNhcm5hbCBwbGVhcw==");
  expect("bad length", decoded("abcde", standard), "(error)");
  expect("bad digit", decoded("ab-d", standard), "(error)");
  expect("url digits", decoded("-_-_", url), "\xfb\xff\xbf");
  expect("mime", decoded("aGVs\r\nbG8=", base64_decode_mime), "hello");
  expect("hex", std::to_string(hex_number("fF")), "255");
  expect("no hex", std::to_string(hex_number("fg")), "-1");
  expect("crc", std::to_string(crc32("hello")), "907060870");
}

}  // namespace

int main() {
  percent();
  quoting();
  bases();
  return failures ? 1 : 0;
}
