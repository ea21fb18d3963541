#include "http/headers.h"

namespace moonphase::http {

uint32_t header_hash(Str lower) {
  uint64_t h = lower.size() * 0x9e3779b97f4a7c15u;
  const char* p = lower.data();
  size_t n = lower.size();
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t w;
    std::memcpy(&w, p, 8);
    h = (h ^ w) * 0xff51afd7ed558ccdu;
    h ^= h >> 32;
  }
  uint64_t w = 0;
  std::memcpy(&w, p, n);
  h = (h ^ w) * 0xff51afd7ed558ccdu;
  auto out = static_cast<uint32_t>(h >> 32);
  return out ? out : 1;
}

Header* HeaderList::push(Arena& a) {
  if (!last_ || last_->used == last_->size) {
    unsigned size = last_ ? 20 : 8;
    auto* part = a.make<Part>(static_cast<Header*>(a.alloc(size * sizeof(Header))), 0u, size, nullptr);
    if (last_)
      last_->next = part;
    else
      first_ = part;
    last_ = part;
  }
  ++count_;
  return new (&last_->items[last_->used++]) Header();
}

Header* HeaderList::add(Arena& a, Str name, Str value) {
  Header* h = push(a);
  size_t n = name.size();
  char* p = a.bytes(n * 2 + value.size() + 2);
  std::memcpy(p, name.data(), n);
  p[n] = 0;
  char* low = p + n + 1;
  for (size_t i = 0; i < n; ++i) {
    char c = name[i];
    low[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  }
  char* v = low + n;
  std::memcpy(v, value.data(), value.size());
  v[value.size()] = 0;
  h->name = {p, n};
  h->lower = {low, n};
  h->value = {v, value.size()};
  h->hash = header_hash(h->lower);
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
