// Bytes as text: base64, base32, hex; and CRC-32.
#pragma once

#include <string>

#include "base/types.h"

namespace moonphase {

constexpr size_t base64_encoded_size(size_t n) { return (n + 2) / 3 * 4; }
constexpr size_t base64_decoded_size(size_t n) { return (n + 3) / 4 * 3; }

enum class Base64 : uint8_t { kStandard, kUrl };
// Writes at dst, returns the length.
size_t base64_encode(char* dst, Str s, Base64 alphabet = Base64::kStandard, bool padding = true);
// nginx's rules: stops at '=', any other foreign byte or a length of 4n + 1 is an error (-1).
ptrdiff_t base64_decode(char* dst, Str s, Base64 alphabet = Base64::kStandard);
// Foreign bytes are skipped.
ptrdiff_t base64_decode_mime(char* dst, Str s);

constexpr size_t base32_encoded_size(size_t n) { return (n + 4) / 5 * 8; }
constexpr size_t base32_decoded_size(size_t n) { return (n + 7) / 8 * 5; }
constexpr Str kBase32Alphabet = "0123456789abcdefghijklmnopqrstuv";
size_t base32_encode(char* dst, Str s, Str alphabet, bool padding);
ptrdiff_t base32_decode(char* dst, Str s, Str alphabet);

// Two lower-case digits for each byte; returns the end.
char* hex_encode(char* dst, Str s);
// The number that hex digits spell; -1: none, or too large.
int64_t hex_number(Str s);

uint32_t crc32(Str s);

}  // namespace moonphase
