// The low-level functions are deprecated in OpenSSL 3, but free of its per-call algorithm lookup.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "net/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/md5.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <cstdlib>

namespace moonphase::net {

namespace {

void hmac(const EVP_MD* md, Str key, Str s, unsigned char* out) {
  unsigned int n = 0;
  HMAC(md, key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(s.data()), s.size(), out, &n);
}

}  // namespace

void md5(Str s, unsigned char* out) {
  MD5_CTX c;
  MD5_Init(&c);
  MD5_Update(&c, s.data(), s.size());
  MD5_Final(out, &c);
}

void sha1(Str s, unsigned char* out) {
  SHA_CTX c;
  SHA1_Init(&c);
  SHA1_Update(&c, s.data(), s.size());
  SHA1_Final(out, &c);
}

void sha256(Str s, unsigned char* out) {
  SHA256_CTX c;
  SHA256_Init(&c);
  SHA256_Update(&c, s.data(), s.size());
  SHA256_Final(out, &c);
}

// A null key pointer would mean "the key of the call before".
void hmac_sha1(Str key, Str s, unsigned char* out) {
  hmac(EVP_sha1(), key.data() ? key : Str(""), s, out);
}
void hmac_sha256(Str key, Str s, unsigned char* out) {
  hmac(EVP_sha256(), key.data() ? key : Str(""), s, out);
}

void random_bytes(void* out, size_t n) {
  if (RAND_bytes(static_cast<unsigned char*>(out), static_cast<int>(n)) != 1) std::abort();
}

}  // namespace moonphase::net
