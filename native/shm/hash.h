// The key hash: seeded per zone, so that nobody outside can choose keys that collide.
#pragma once

#include <cstring>

#include "base/types.h"

namespace moonphase::shm {

inline uint64_t hash_fold(uint64_t a, uint64_t b) {
  unsigned __int128 p = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(p) ^ static_cast<uint64_t>(p >> 64);
}

template <class T>
uint64_t load_as(const char* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// Keys are short: memcmp's call costs more than the comparison.
inline bool same_bytes(const char* a, const char* b, size_t n) {
  if (n > 32) return std::memcmp(a, b, n) == 0;
  if (n >= 8) {
    for (size_t i = 0; i < n - 8; i += 8)
      if (load_as<uint64_t>(a + i) != load_as<uint64_t>(b + i)) return false;
    return load_as<uint64_t>(a + n - 8) == load_as<uint64_t>(b + n - 8);
  }
  if (n >= 4)
    return load_as<uint32_t>(a) == load_as<uint32_t>(b) &&
           load_as<uint32_t>(a + n - 4) == load_as<uint32_t>(b + n - 4);
  for (size_t i = 0; i < n; i++)
    if (a[i] != b[i]) return false;
  return true;
}

inline uint32_t hash_key(Str key, uint64_t seed) {
  constexpr uint64_t kA = 0x9e3779b97f4a7c15, kB = 0xd1b54a32d192ed03;
  const char* p = key.data();
  size_t n = key.size();
  uint64_t h = seed ^ (n * kB);
  while (n > 8) {
    h = hash_fold(h ^ load_as<uint64_t>(p), kA ^ seed);
    p += 8;
    n -= 8;
  }
  uint64_t tail;
  if (n == 8) {
    tail = load_as<uint64_t>(p);
  } else if (n >= 4) {
    tail = load_as<uint32_t>(p) | load_as<uint32_t>(p + n - 4) << 32;
  } else if (n > 0) {
    tail = static_cast<uint64_t>(static_cast<uint8_t>(p[0])) |
           static_cast<uint64_t>(static_cast<uint8_t>(p[n / 2])) << 8 |
           static_cast<uint64_t>(static_cast<uint8_t>(p[n - 1])) << 16;
  } else {
    tail = 0;
  }
  h = hash_fold(h ^ tail, kB);
  return static_cast<uint32_t>(h ^ h >> 32);
}

}  // namespace moonphase::shm
