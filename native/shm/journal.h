// Undo: a step writes shared words through put(), which keeps the old value first. commit() is one
// store. Whoever takes the lock over from a dead process calls rollback() and sees the zone as it
// was before the step.
//
// The dead process's stores all arrive, in program order as far as others can tell once the kernel
// has passed the lock on; only the compiler could reorder them, hence the fences.
//
// Two rules follow for the callers: memory that a step has freed is not written to again before
// commit (its old bytes are not kept), and what is not reachable yet (a fresh chunk) needs no
// put().
#pragma once

#include <atomic>
#include <cstring>

#include "shm/layout.h"

namespace moonphase::shm {

class Journal {
 public:
  Journal() = default;
  Journal(char* base, JournalState* state) : base_(base), state_(state) {}

  void put(uint32_t& word, uint32_t value) { put_word(reinterpret_cast<char*>(&word), value); }
  // What is there already needs no step.
  void change(uint32_t& word, uint32_t value) {
    if (word != value) put(word, value);
  }
  void change(uint64_t& field, uint64_t value) {
    if (field != value) put(field, value);
  }
  void put(uint64_t& field, uint64_t value) {
    put_bytes(reinterpret_cast<char*>(&field), &value, sizeof value);
  }
  // Bytes that begin at a multiple of 4; up to 3 bytes of padding behind them are written too.
  void put_bytes(char* at, const void* bytes, size_t n) {
    for (size_t i = 0; i < n; i += sizeof(uint32_t)) {
      uint32_t v = 0;
      std::memcpy(&v, static_cast<const char*>(bytes) + i, n - i < sizeof v ? n - i : sizeof v);
      put_word(at + i, v);
    }
  }
  void commit() {
    fence();
    if (state_->count != 0) state_->count = 0;
    fence();
  }
  void rollback() {
    for (uint32_t n = state_->count; n > 0; n--) {
      uint64_t w = state_->words[n - 1];
      auto old = static_cast<uint32_t>(w);
      std::memcpy(base_ + (w >> 32) * sizeof old, &old, sizeof old);
      fence();
      state_->count = n - 1;
      fence();
    }
  }
  bool empty() const { return state_->count == 0; }

  static void fence() { std::atomic_signal_fence(std::memory_order_seq_cst); }

 private:
  void put_word(char* at, uint32_t value) {
    uint32_t n = state_->count, old;
    if (n == JournalState::kCapacity) __builtin_trap();
    std::memcpy(&old, at, sizeof old);
    state_->words[n] = static_cast<uint64_t>(at - base_) / sizeof old << 32 | old;
    fence();
    state_->count = n + 1;
    fence();
    std::memcpy(at, &value, sizeof value);
  }

  char* base_ = nullptr;
  JournalState* state_ = nullptr;
};

}  // namespace moonphase::shm
