// A request's memory: grows by blocks, freed at once. The first block comes from a free list.
#pragma once

#include <cstring>
#include <initializer_list>
#include <new>
#include <type_traits>
#include <utility>

#include "base/types.h"

namespace moonphase {

class Arena {
 public:
  // `first_block`: bytes of the first block; larger requests get blocks of their own.
  explicit Arena(size_t first_block = 4096);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Aligned for any type; never null (out of memory aborts the process, as Node does).
  void* alloc(size_t n) {
    char* p = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(pos_) + 15) & ~uintptr_t{15});
    if (p + n <= end_) {
      pos_ = p + n;
      return p;
    }
    return alloc_slow(n);
  }
  // For bytes: no alignment.
  char* bytes(size_t n) {
    if (static_cast<size_t>(end_ - pos_) >= n) {
      char* p = pos_;
      pos_ += n;
      return p;
    }
    return static_cast<char*>(alloc_slow(n));
  }
  void* zalloc(size_t n) { return std::memset(alloc(n), 0, n); }

  // Destructors do not run: for types that need none. What needs one registers `on_destroy`.
  template <class T, class... A>
  T* make(A&&... a) {
    static_assert(std::is_trivially_destructible_v<T>);
    return new (alloc(sizeof(T))) T{std::forward<A>(a)...};
  }
  template <class T>
  T* array(size_t n) {
    static_assert(std::is_trivially_destructible_v<T>);
    return static_cast<T*>(std::memset(alloc(n * sizeof(T)), 0, n * sizeof(T)));
  }
  Str copy(Str s) {
    char* p = bytes(s.size());
    put_bytes(p, s);
    return {p, s.size()};
  }
  // A NUL behind it, for system calls.
  const char* c_str(Str s) {
    char* p = bytes(s.size() + 1);
    *put_bytes(p, s) = 0;
    return p;
  }
  Str join(std::initializer_list<Str> parts);

  // Cleanups run when the arena is destroyed, last registered first. The returned record lives in
  // the arena; setting `fn` to null disarms it. `forget` disarms it for good: another one takes its
  // place.
  struct Cleanup {
    void (*fn)(void* data);
    void* data;
    Cleanup* next;
    Cleanup* prev;
  };
  Cleanup* on_destroy(void (*fn)(void*), void* data);
  void forget(Cleanup* cleanup);
  const Cleanup* forgotten() const { return forgotten_; }  // which the next on_destroy takes
  // Runs and forgets all cleanups now (a request ends before its memory does).
  void run_cleanups();
  // Whether anything was allocated or registered between two of these.
  struct Mark {
    const char* pos;
    const Cleanup* cleanups;
    bool operator==(const Mark&) const = default;
  };
  Mark mark() const { return {pos_, cleanups_}; }
  // As new, with the first block kept: for arenas that are reused.
  void reset();

 private:
  struct Block {
    Block* next;
    size_t size;
  };
  __attribute__((cold)) void* alloc_slow(size_t n);
  char* pos_ = nullptr;
  char* end_ = nullptr;
  Block* blocks_ = nullptr;  // newest first; the last one is the first block
  Cleanup* cleanups_ = nullptr;
  Cleanup* forgotten_ = nullptr;
  size_t block_size_;
};

}  // namespace moonphase
