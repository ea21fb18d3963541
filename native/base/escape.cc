#include "base/escape.h"

#include <array>

namespace moonphase {

namespace {

constexpr char kUpperHex[] = "0123456789ABCDEF";
constexpr char kLowerHex[] = "0123456789abcdef";

using Flags = std::array<bool, 256>;

constexpr Flags flags_of(Str listed, int low_until, bool del, bool high) {
  Flags f{};
  for (int c = 0; c < low_until; ++c) f[c] = true;
  for (char c : listed) f[static_cast<unsigned char>(c)] = true;
  if (del) f[0x7f] = true;
  for (int c = 0x80; high && c < 256; ++c) f[c] = true;
  return f;
}

constexpr Flags header_value() {
  Flags f = flags_of("", 0x20, true, false);
  f['\t'] = false;
  return f;
}

constexpr Flags kSets[] = {
    flags_of("#%?", 0x21, true, true),
    flags_of("#%+?", 0x21, true, true),
    flags_of("\"#$%&+,/:;<=>?@[\\]^`{|}", 0x21, true, true),
    flags_of("\"#%'", 0x21, true, true),
    flags_of("\"'", 0x21, true, true),
    flags_of("%", 0x21, false, false),
    flags_of("%", 0x21, false, false),
    flags_of("\"(),/:;<=>?@[\\]{}", 0x21, true, true),
    header_value(),
    flags_of("", 0x21, true, false),
    flags_of("\"#%&+/:;<=>?[\\]^{}", 0x21, true, true),
};
// ngx.escape_uri's component set leaves '`' encoded; set-misc's leaves it and '$' ',' '@' '|'
// alone.
static_assert(kSets[2]['`'] && !kSets[10]['`'] && !kSets[10]['|']);

constexpr int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

size_t percent_count(Str s, Percent set) {
  const Flags& f = kSets[static_cast<int>(set)];
  size_t n = 0;
  for (unsigned char c : s) n += f[c];
  return n;
}

char* percent_encode(char* dst, Str s, Percent set) {
  const Flags& f = kSets[static_cast<int>(set)];
  for (unsigned char c : s) {
    if (f[c]) {
      *dst++ = '%';
      *dst++ = kUpperHex[c >> 4];
      *dst++ = kUpperHex[c & 15];
    } else {
      *dst++ = static_cast<char>(c);
    }
  }
  return dst;
}

Str percent_encode(Arena& a, Str s, Percent set) {
  size_t n = percent_count(s, set);
  if (n == 0) return s;
  size_t size = s.size() + 2 * n;
  char* p = a.bytes(size + 1);
  *percent_encode(p, s, set) = 0;
  return {p, size};
}

void append_percent(std::string* out, Str s, Percent set) {
  size_t n = percent_count(s, set);
  if (n == 0) {
    out->append(s);
    return;
  }
  size_t at = out->size();
  out->resize(at + s.size() + 2 * n);
  percent_encode(out->data() + at, s, set);
}

char* percent_decode(char* dst, Str s) {
  const char* p = s.data();
  const char* end = p + s.size();
  while (p < end) {
    char c = *p++;
    if (c == '+') {
      c = ' ';
    } else if (c == '%' && end - p >= 2) {
      int high = hex_value(p[0]), low = hex_value(p[1]);
      if (high >= 0 && low >= 0) {
        c = static_cast<char>(high << 4 | low);
        p += 2;
      }
    }
    *dst++ = c;
  }
  return dst;
}

void append_sql_quoted(std::string* out, Str s, bool dollar) {
  out->push_back('\'');
  for (char c : s) {
    char letter = 0;
    switch (c) {
      case '\0':
        letter = '0';
        break;
      case '\b':
        letter = 'b';
        break;
      case '\n':
        letter = 'n';
        break;
      case '\r':
        letter = 'r';
        break;
      case '\t':
        letter = 't';
        break;
      case 26:
        letter = 'Z';
        break;
      case '\\':
      case '\'':
      case '"':
        letter = c;
        break;
      case '$':
        letter = dollar ? c : 0;
        break;
      default:
        break;
    }
    if (letter) {
      out->push_back('\\');
      out->push_back(letter);
    } else {
      out->push_back(c);
    }
  }
  out->push_back('\'');
}

void append_json_quoted(std::string* out, Str s) {
  out->push_back('"');
  for (char c : s) {
    char letter = 0;
    switch (c) {
      case '\b':
        letter = 'b';
        break;
      case '\f':
        letter = 'f';
        break;
      case '\n':
        letter = 'n';
        break;
      case '\r':
        letter = 'r';
        break;
      case '\t':
        letter = 't';
        break;
      case '\\':
      case '"':
        letter = c;
        break;
      default:
        break;
    }
    if (letter) {
      out->push_back('\\');
      out->push_back(letter);
    } else if (static_cast<unsigned char>(c) < 32) {
      out->append("\\u00");
      out->push_back(kLowerHex[c >> 4]);
      out->push_back(kLowerHex[c & 15]);
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}

void append_log_escaped(std::string* out, Str s) {
  for (unsigned char c : s) {
    if (c < 32 || c >= 0x7f || c == '"' || c == '\\') {
      out->append("\\x");
      out->push_back(kUpperHex[c >> 4]);
      out->push_back(kUpperHex[c & 15]);
    } else {
      out->push_back(static_cast<char>(c));
    }
  }
}

}  // namespace moonphase
