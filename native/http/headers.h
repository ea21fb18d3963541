// Header lists: in order, with cheap lookup of the names that the server itself knows.
#pragma once

#include "base/arena.h"

namespace moonphase::http {

struct Header {
  Str name;        // as it was sent or set
  Str value;       // NUL-terminated in the arena
  Str lower;       // lower-case name
  uint32_t hash = 0;   // 0: removed (as nginx does), skipped by everybody
  Header* same = nullptr;  // next header of the same name, for the known multi-valued ones
};

uint32_t header_hash(Str lower_name);

// Stable addresses, in order of arrival.
class HeaderList {
 public:
  Header* add(Arena& a, Str name, Str value);
  // First one that is not removed; name in lower case.
  Header* find(Str lower) const;
  void remove_all(Str lower);
  unsigned count() const { return count_; }

  class Iterator {
   public:
    Header& operator*() const { return part_->items[i_]; }
    Header* operator->() const { return &part_->items[i_]; }
    Iterator& operator++() {
      if (++i_ == part_->used) {
        part_ = part_->next;
        i_ = 0;
      }
      return *this;
    }
    bool operator!=(const Iterator& o) const { return part_ != o.part_ || i_ != o.i_; }

   private:
    friend class HeaderList;
    struct PartRef;
    const struct Part* part_ = nullptr;
    unsigned i_ = 0;
  };
  struct PartBase;
  Iterator begin() const;
  Iterator end() const;

 private:
  friend struct Part;
  struct Part* first_ = nullptr;
  struct Part* last_ = nullptr;
  unsigned count_ = 0;
};

constexpr unsigned kHeaderPart = 20;
struct Part {
  Header* items;
  unsigned used;
  Part* next;
};

inline HeaderList::Iterator HeaderList::begin() const {
  Iterator it;
  it.part_ = first_ && first_->used ? first_ : nullptr;
  return it;
}
inline HeaderList::Iterator HeaderList::end() const { return Iterator(); }

}  // namespace moonphase::http
