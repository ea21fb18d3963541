// The key hash: seeded per zone, so that nobody outside can choose keys that collide.
#pragma once

#include <cstring>

#include "base/types.h"

namespace moonphase::shm {

inline uint64_t hash_fold(uint64_t a, uint64_t b) {
  unsigned __int128 p = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(p) ^ static_cast<uint64_t>(p >> 64);
}

inline uint32_t hash_key(Str key, uint64_t seed) {
  constexpr uint64_t kA = 0x9e3779b97f4a7c15, kB = 0xd1b54a32d192ed03;
  auto load = [](const char* p, size_t n) {
    uint64_t v = 0;
    std::memcpy(&v, p, n);
    return v;
  };
  const char* p = key.data();
  size_t n = key.size();
  uint64_t h = seed ^ (n * kB);
  while (n > 8) {
    h = hash_fold(h ^ load(p, 8), kA ^ seed);
    p += 8;
    n -= 8;
  }
  uint64_t tail;
  if (n == 8) {
    tail = load(p, 8);
  } else if (n >= 4) {
    tail = load(p, 4) | load(p + n - 4, 4) << 32;
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
