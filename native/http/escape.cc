// Escaping and unescaping of URIs and HTML.
#include "http/uri.h"

namespace moonphase::http {

namespace {

constexpr bool is_unreserved(int c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

constexpr bool one_of(int c, const char* set) {
  for (; *set; ++set)
    if (*set == c) return true;
  return false;
}

struct Tables {
  bool must[7][256] = {};
  constexpr Tables() {
    for (int c = 0; c < 256; ++c) {
      bool outside = c <= 0x20 || c >= 0x7f;             // control bytes, space, 8-bit
      bool never = outside || one_of(c, "\"<>\\^`{|}");  // not allowed in a URI at all
      must[0][c] = never || one_of(c, "#%?");
      must[1][c] = never || one_of(c, "#%&+;?");
      must[2][c] = !is_unreserved(c);
      must[3][c] = never || one_of(c, "#%'");
      // nginx's table for Refresh has "~" where one expects "}".
      must[4][c] = (never && c != '}') || c == '\'' || c == '~';
      must[5][c] = c <= 0x20 || c == '%';
      must[6][c] = must[5][c];
    }
  }
};
constexpr Tables kTables;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  char l = static_cast<char>(c | 0x20);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

Str html_entity(char c) {
  switch (c) {
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '&':
      return "&amp;";
    case '"':
      return "&quot;";
  }
  return Str();
}

}  // namespace

size_t escaped_extra(Str s, Escape type) {
  const bool* must = kTables.must[static_cast<int>(type)];
  size_t n = 0;
  for (unsigned char c : s) n += must[c];
  return n * 2;
}

char* escape(char* dst, Str s, Escape type) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  const bool* must = kTables.must[static_cast<int>(type)];
  for (unsigned char c : s) {
    if (must[c]) {
      *dst++ = '%';
      *dst++ = kHex[c >> 4];
      *dst++ = kHex[c & 15];
    } else {
      *dst++ = static_cast<char>(c);
    }
  }
  return dst;
}

Str escape(Arena& a, Str s, Escape type) {
  size_t extra = escaped_extra(s, type);
  if (!extra) return s;
  char* p = a.bytes(s.size() + extra);
  escape(p, s, type);
  return {p, s.size() + extra};
}

char* unescape(char* dst, Str s, Unescape type) {
  bool stops = type != Unescape::kPlain;  // "?" ends the path; the caller goes on from there
  for (size_t i = 0; i < s.size();) {
    char c = s[i++];
    if (c == '?' && stops) {
      *dst++ = c;
      return dst;
    }
    if (c != '%') {
      *dst++ = c;
      continue;
    }
    if (i == s.size()) break;
    int high = hex_value(s[i]);
    if (high < 0) {
      // nginx drops the "%" of a wrong sequence, and the digit if the second one is wrong, too.
      *dst++ = s[i++];
      continue;
    }
    if (++i == s.size()) break;
    int low = hex_value(s[i++]);
    if (low < 0) continue;
    c = static_cast<char>(high << 4 | low);
    if (stops && c == '?' && low >= 10) {
      *dst++ = c;
      return dst;
    }
    if (type == Unescape::kRedirect && !(c > '%' && c < 0x7f)) {
      *dst++ = '%';
      *dst++ = s[i - 2];
      *dst++ = s[i - 1];
      continue;
    }
    *dst++ = c;
  }
  return dst;
}

size_t escape_html_size(Str s) {
  size_t n = s.size();
  for (char c : s)
    if (Str e = html_entity(c); !e.empty()) n += e.size() - 1;
  return n;
}

char* escape_html(char* dst, Str s) {
  for (char c : s) {
    Str e = html_entity(c);
    if (e.empty()) {
      *dst++ = c;
    } else {
      for (char x : e) *dst++ = x;
    }
  }
  return dst;
}

}  // namespace moonphase::http
