// What only Node provides, and what no test here reaches.
#include <cstdlib>

#define STUB(name) \
  extern "C" void name() { std::abort(); }
STUB(uv_poll_init)
STUB(uv_poll_start)
STUB(uv_poll_stop)
STUB(uv_timer_init)
STUB(uv_timer_start)
STUB(uv_timer_stop)
STUB(uv_close)
STUB(uv_now)
STUB(uv_ref)
STUB(uv_unref)
STUB(HMAC)
STUB(EVP_sha1)
STUB(EVP_sha256)
STUB(MD5_Init)
STUB(MD5_Update)
STUB(MD5_Final)
STUB(SHA1_Init)
STUB(SHA1_Update)
STUB(SHA1_Final)
STUB(SHA256_Init)
STUB(SHA256_Update)
STUB(SHA256_Final)
STUB(RAND_bytes)
