#include "http/headers.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

namespace moonphase::http {

namespace {

// Adds 0x20 to each byte of the word that is an upper-case letter.
uint64_t lower8(uint64_t w) {
  constexpr uint64_t k7f = 0x7f7f7f7f7f7f7f7fu, k80 = 0x8080808080808080u;
  uint64_t seven = w & k7f;
  uint64_t from_a = seven + 0x3f3f3f3f3f3f3f3fu;   // bit 7: at least 'A'
  uint64_t after_z = seven + 0x2525252525252525u;  // bit 7: above 'Z'
  uint64_t upper = from_a & ~after_z & ~w & k80;
  return w + (upper >> 2);
}

uint64_t mix(uint64_t h, uint64_t w) {
  h = (h ^ w) * 0xff51afd7ed558ccdu;
  return h ^ h >> 32;
}
uint32_t last_mix(uint64_t h) {
  auto out = static_cast<uint32_t>(h >> 32);
  return out ? out : 1;
}
// The last n < 8 bytes as a word, zeros behind them.
uint64_t rest8(const char* p, size_t n) {
  uint64_t w = 0;
  unsigned shift = 0;
  if (n & 4) {
    uint32_t four;
    std::memcpy(&four, p, 4);
    w = four;
    p += 4;
    shift = 32;
  }
  if (n & 2) {
    uint16_t two;
    std::memcpy(&two, p, 2);
    w |= uint64_t{two} << shift;
    p += 2;
    shift += 16;
  }
  if (n & 1) w |= uint64_t{static_cast<unsigned char>(*p)} << shift;
  return w;
}
uint64_t seed(size_t n) { return n * 0x9e3779b97f4a7c15u; }

}  // namespace

uint32_t header_hash(Str lower) {
  const char* p = lower.data();
  size_t n = lower.size();
  uint64_t h = seed(n), w;
  for (; n >= 8; p += 8, n -= 8) {
    std::memcpy(&w, p, 8);
    h = mix(h, w);
  }
  return last_mix(mix(h, rest8(p, n)));
}

Header* HeaderList::push(Arena& a) {
  if (!last_ || last_->used == last_->size) {
    unsigned size = last_ ? 20 : 8;
    auto* part =
        a.make<Part>(static_cast<Header*>(a.alloc(size * sizeof(Header))), 0u, size, nullptr);
    if (last_)
      last_->next = part;
    else
      first_ = part;
    last_ = part;
  }
  ++count_;
  return new (&last_->items[last_->used++]) Header;
}

Header* HeaderList::add(Arena& a, Str name, Str value) {
  Header* h = push(a);
  size_t n = name.size();
  size_t padded = (n + 8) & ~size_t{7};  // whole words, with a NUL at least
  char* p = a.bytes(padded * 2 + value.size() + 1);
  char* low = p + padded;
  char* v = low + padded;
  uint64_t hash = seed(n), w;
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    std::memcpy(&w, name.data() + i, 8);
    std::memcpy(p + i, &w, 8);
    w = lower8(w);
    std::memcpy(low + i, &w, 8);
    hash = mix(hash, w);
  }
  w = rest8(name.data() + i, n - i);
  std::memcpy(p + i, &w, 8);
  w = lower8(w);
  std::memcpy(low + i, &w, 8);
  hash = mix(hash, w);
  *put_bytes(v, value) = 0;
  h->name = {p, n};
  h->lower = {low, n};
  h->value = {v, value.size()};
  h->hash = last_mix(hash);
  return h;
}

Header* HeaderList::find(Str lower) const {
  for (auto it = begin(); it != end(); ++it)
    if (it->hash && it->lower == lower) return &*it;
  return nullptr;
}

void HeaderList::remove_all(Str lower) {
  for (auto it = begin(); it != end(); ++it)
    if (it->hash && it->lower == lower) it->hash = 0;
}

}  // namespace moonphase::http
