// Passwords as password files store them.
#include <dlfcn.h>

#include <cerrno>
#include <mutex>
#include <string>

#include "engine/content.h"
#include "engine/lifecycle.h"
#include "net/digest.h"

namespace moonphase::engine {

namespace {

// Gathers what is hashed at once.
class Digest {
 public:
  using Function = void (*)(Str, unsigned char*);
  Digest(Function hash, size_t size) : hash_(hash), size_(size) {}
  Digest& add(Str s) {
    text_ += s;
    return *this;
  }
  std::string finish() {
    unsigned char out[net::kSha1Size];
    hash_(text_, out);
    return {reinterpret_cast<char*>(out), size_};
  }

 private:
  std::string text_;
  Function hash_;
  size_t size_;
};
Digest md5() { return {net::md5, net::kMd5Size}; }
Digest sha1() { return {net::sha1, net::kSha1Size}; }

// Poul-Henning Kamp's md5 crypt with Apache's mark.
std::string apr1(Str key, Str stored) {
  constexpr Str kMark = "$apr1$";
  Str salt = stored.substr(kMark.size(), 8);
  salt = salt.substr(0, salt.find('$'));

  Digest start = md5();
  start.add(key).add(kMark).add(salt);
  std::string mix = md5().add(key).add(salt).add(key).finish();
  for (size_t n = key.size(); n > 0; n -= std::min<size_t>(n, 16)) start.add(Str(mix).substr(0, n));
  for (size_t i = key.size(); i; i >>= 1) start.add(i & 1 ? Str("", 1) : key.substr(0, 1));
  std::string final = start.finish();
  for (int i = 0; i < 1000; ++i) {
    Digest round = md5();
    round.add(i & 1 ? key : Str(final));
    if (i % 3) round.add(salt);
    if (i % 7) round.add(key);
    round.add(i & 1 ? Str(final) : key);
    final = round.finish();
  }

  std::string out = std::string(kMark) + std::string(salt) + "$";
  auto put = [&](int a, int b, int c, int n) {
    auto at = [&](int i) {
      return i < 0 ? 0u : static_cast<unsigned char>(final[static_cast<size_t>(i)]);
    };
    uint32_t v = at(a) << 16 | at(b) << 8 | at(c);
    for (; n--; v >>= 6)
      out += "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[v & 0x3f];
  };
  put(0, 6, 12, 4);
  put(1, 7, 13, 4);
  put(2, 8, 14, 4);
  put(3, 9, 15, 4);
  put(4, 10, 5, 4);
  put(-1, -1, 11, 2);
  return out;
}

// libcrypt is loaded when the first such password is seen: its name differs between systems.
int libc_matches(const char* key, const char* stored) {
  using Crypt = char* (*)(const char*, const char*);
  static const Crypt crypt = [] {
    void* symbol = dlsym(RTLD_DEFAULT, "crypt");
    for (const char* name : {"libcrypt.so.1", "libcrypt.so.2", "libcrypt.so"}) {
      if (symbol) break;
      if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) symbol = dlsym(library, "crypt");
    }
    return reinterpret_cast<Crypt>(symbol);
  }();
  if (!crypt) {
    errno = ENOSYS;
    return kError;
  }
  static std::mutex mutex;  // crypt() has one buffer
  std::lock_guard lock(mutex);
  const char* crypted = crypt(key, stored);
  return !crypted ? kError : std::string(crypted) == stored ? kOk : kDeclined;
}

int answer(bool same) { return same ? kOk : kDeclined; }

}  // namespace

int check_password(Request* r, Str password, Str stored) {
  if (stored.starts_with("{PLAIN}")) return answer(stored.substr(7) == password);
  if (stored.starts_with("$apr1$")) return answer(apr1(password, stored) == stored);
  if (stored.starts_with("{SHA}"))
    return answer(sha1().add(password).finish() == decode_base64(*r->pool, stored.substr(5)));
  if (stored.starts_with("{SSHA}")) {
    Str hash = decode_base64(*r->pool, stored.substr(6));
    if (hash.size() < net::kSha1Size) return kDeclined;
    Str salt = hash.substr(net::kSha1Size);
    return answer(sha1().add(password).add(salt).finish() == hash.substr(0, net::kSha1Size));
  }
  int rc = libc_matches(r->pool->c_str(password), r->pool->c_str(stored));
  if (rc == kError) MOONPHASE_LOG(r, kLogCrit, errno, "crypt_r() failed");
  return rc;
}

}  // namespace moonphase::engine
