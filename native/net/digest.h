// Digests and random bytes, from node's OpenSSL.
#pragma once

#include "base/types.h"

namespace moonphase::net {

constexpr size_t kMd5Size = 16, kSha1Size = 20, kSha256Size = 32;

void md5(Str s, unsigned char* out);
void sha1(Str s, unsigned char* out);
void sha256(Str s, unsigned char* out);
void hmac_sha1(Str key, Str s, unsigned char* out);
void hmac_sha256(Str key, Str s, unsigned char* out);
// Fit for secrets.
void random_bytes(void* out, size_t n);

}  // namespace moonphase::net
