// Names of headers, in lower case: tables that are searched, and sets.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "base/types.h"

namespace moonphase::http {

// Lookup in a constant table of rows with a `lower` by length, then by the first two bytes, which
// tell almost all of one length apart: one comparison for almost every name.
template <class Row, size_t kCount, size_t kLongest>
class NameTable {
 public:
  constexpr explicit NameTable(const Row (&rows)[kCount]) : rows_(rows) {
    uint8_t n = 0;
    for (size_t len = 0; len <= kLongest; ++len) {
      first_[len] = n;
      for (size_t i = 0; i < kCount; ++i)
        if (rows[i].lower.size() == len) order_[n++] = static_cast<uint8_t>(i);
    }
    first_[kLongest + 1] = n;
  }
  const Row* find(Str lower) const {
    const size_t n = lower.size();
    if (n > kLongest) return nullptr;
    for (unsigned i = first_[n]; i < first_[n + 1]; ++i) {
      const Row& row = rows_[order_[i]];
      if (row.lower[0] == lower[0] && row.lower[1] == lower[1] && row.lower == lower) return &row;
    }
    return nullptr;
  }

 private:
  const Row (&rows_)[kCount];
  uint8_t first_[kLongest + 2] = {};
  uint8_t order_[kCount] = {};
};

template <class Row, size_t kCount>
constexpr size_t longest_name(const Row (&rows)[kCount]) {
  size_t n = 0;
  for (const Row& row : rows) n = std::max(n, row.lower.size());
  return n;
}

// A few names of a configuration.
class NameSet {
 public:
  // False: it is there.
  bool add(std::string lower) {
    if (has(lower)) return false;
    lengths_ |= bit(lower.size());
    names_.push_back(std::move(lower));
    return true;
  }
  void remove(Str lower) { std::erase(names_, lower); }
  bool has(Str lower) const {
    if (!(lengths_ & bit(lower.size()))) return false;
    for (const std::string& name : names_)
      if (name == lower) return true;
    return false;
  }
  bool empty() const { return names_.empty(); }

 private:
  static uint64_t bit(size_t length) { return uint64_t{1} << (length & 63); }
  std::vector<std::string> names_;
  uint64_t lengths_ = 0;  // of those that are there, and perhaps others
};

}  // namespace moonphase::http
