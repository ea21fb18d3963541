#include "base/encode.h"

#include <array>
#include <limits>

namespace moonphase {

namespace {

constexpr Str kStandardDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr Str kUrlDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr uint8_t kNone = 0xff;

using Values = std::array<uint8_t, 256>;
constexpr Values values_of(Str digits) {
  Values v{};
  for (auto& x : v) x = kNone;
  for (size_t i = 0; i < digits.size(); ++i) {
    v[static_cast<unsigned char>(digits[i])] = static_cast<uint8_t>(i);
  }
  return v;
}
constexpr Values kStandardValues = values_of(kStandardDigits);
constexpr Values kUrlValues = values_of(kUrlDigits);

// Collects digits of `bits` each and writes out whole bytes.
struct Unpacker {
  char* p;
  unsigned bits;
  uint32_t acc = 0;
  unsigned have = 0;
  void put(uint8_t digit) {
    acc = acc << bits | digit;
    have += bits;
    if (have >= 8) {
      have -= 8;
      *p++ = static_cast<char>(acc >> have & 0xff);
    }
  }
};

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> t{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    t[i] = c;
  }
  return t;
}

}  // namespace

size_t base64_encode(char* dst, Str s, Base64 alphabet, bool padding) {
  const char* digits = (alphabet == Base64::kUrl ? kUrlDigits : kStandardDigits).data();
  const auto* p = reinterpret_cast<const unsigned char*>(s.data());
  size_t n = s.size();
  char* d = dst;
  for (; n > 2; n -= 3, p += 3) {
    uint32_t v = p[0] << 16 | p[1] << 8 | p[2];
    *d++ = digits[v >> 18];
    *d++ = digits[v >> 12 & 63];
    *d++ = digits[v >> 6 & 63];
    *d++ = digits[v & 63];
  }
  if (n) {
    uint32_t v = p[0] << 16 | (n == 2 ? p[1] << 8 : 0);
    *d++ = digits[v >> 18];
    *d++ = digits[v >> 12 & 63];
    if (n == 2) *d++ = digits[v >> 6 & 63];
    if (padding) {
      if (n == 1) *d++ = '=';
      *d++ = '=';
    }
  }
  return d - dst;
}

ptrdiff_t base64_decode(char* dst, Str s, Base64 alphabet) {
  const Values& values = alphabet == Base64::kUrl ? kUrlValues : kStandardValues;
  s = s.substr(0, s.find('='));
  if (s.size() % 4 == 1) return -1;
  Unpacker out{dst, 6};
  for (unsigned char c : s) {
    if (values[c] == kNone) return -1;
    out.put(values[c]);
  }
  return out.p - dst;
}

ptrdiff_t base64_decode_mime(char* dst, Str s) {
  s = s.substr(0, s.find('='));
  Unpacker out{dst, 6};
  size_t n = 0;
  for (unsigned char c : s) {
    if (kStandardValues[c] == kNone) continue;
    ++n;
    out.put(kStandardValues[c]);
  }
  return n % 4 == 1 ? -1 : out.p - dst;
}

size_t base32_encode(char* dst, Str s, Str alphabet, bool padding) {
  char* d = dst;
  uint64_t acc = 0;
  unsigned have = 0;
  for (unsigned char c : s) {
    acc = acc << 8 | c;
    have += 8;
    while (have >= 5) {
      have -= 5;
      *d++ = alphabet[acc >> have & 31];
    }
  }
  if (have) *d++ = alphabet[acc << (5 - have) & 31];
  while (padding && (d - dst) % 8) *d++ = '=';
  return d - dst;
}

ptrdiff_t base32_decode(char* dst, Str s, Str alphabet) {
  Values values = values_of(alphabet);
  s = s.substr(0, s.find('='));
  size_t rest = s.size() % 8;
  if (rest == 1 || rest == 3 || rest == 6) return -1;
  Unpacker out{dst, 5};
  for (unsigned char c : s) {
    if (values[c] == kNone) return -1;
    out.put(values[c]);
  }
  return out.p - dst;
}

char* hex_encode(char* dst, Str s) {
  constexpr char kHex[] = "0123456789abcdef";
  for (unsigned char c : s) {
    *dst++ = kHex[c >> 4];
    *dst++ = kHex[c & 15];
  }
  return dst;
}

int64_t hex_number(Str s) {
  if (s.empty()) return -1;
  int64_t v = 0;
  for (char c : s) {
    if (v > std::numeric_limits<int64_t>::max() / 16) return -1;
    if (c >= '0' && c <= '9') {
      v = v * 16 + (c - '0');
      continue;
    }
    c |= 0x20;
    if (c < 'a' || c > 'f') return -1;
    v = v * 16 + (c - 'a' + 10);
  }
  return v;
}

uint32_t crc32(Str s) {
  static constexpr std::array<uint32_t, 256> kTable = crc_table();
  uint32_t c = 0xffffffffu;
  for (unsigned char b : s) c = kTable[(c ^ b) & 0xff] ^ c >> 8;
  return ~c;
}

}  // namespace moonphase
