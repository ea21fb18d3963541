// Header lists: in order, with cheap lookup of the names that the server itself knows.
#pragma once

#include "base/arena.h"

namespace moonphase::http {

struct Header {
  Str name;                // as it was sent or set
  Str value;               // NUL-terminated in the arena
  Str lower;               // lower-case name
  uint32_t hash = 0;       // 0: removed (as nginx does), skipped by everybody
  Header* same = nullptr;  // next header of the same name, for the known multi-valued ones
};

uint32_t header_hash(Str lower_name);

struct Part {
  Header* items;
  unsigned used, size;
  Part* next;
};

// Stable addresses, in order of arrival.
class HeaderList {
 public:
  // Copies both; `value` gets its NUL.
  Header* add(Arena& a, Str name, Str value);
  // A slot to fill in: `hash` must not stay 0.
  Header* push(Arena& a);
  // First one that is not removed; name in lower case.
  Header* find(Str lower) const;
  void remove_all(Str lower);
  // Slots, removed ones included.
  unsigned count() const { return count_; }
  void clear() { *this = HeaderList(); }

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
    const Part* part_ = nullptr;
    unsigned i_ = 0;
  };
  // Yields removed headers too: their hash is 0.
  Iterator begin() const {
    Iterator it;
    it.part_ = first_;
    return it;
  }
  Iterator end() const { return Iterator(); }

 private:
  Part* first_ = nullptr;  // parts are never empty
  Part* last_ = nullptr;
  unsigned count_ = 0;
};

}  // namespace moonphase::http
