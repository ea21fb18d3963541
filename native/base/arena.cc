#include "base/arena.h"

#include "base/blocks.h"

namespace moonphase {

namespace {

constexpr size_t kCommonBlock = 4096;

constexpr size_t round16(size_t n) { return (n + 15) & ~size_t{15}; }

}  // namespace

Arena::Arena(size_t first_block) : block_size_(first_block < 256 ? 256 : first_block) {
  auto* b = static_cast<Block*>(take_block(block_size_));
  *b = {nullptr, block_size_};
  blocks_ = b;
  pos_ = reinterpret_cast<char*>(b) + round16(sizeof(Block));
  end_ = reinterpret_cast<char*>(b) + block_size_;
}

Arena::~Arena() {
  run_cleanups();
  while (Block* b = blocks_) {
    blocks_ = b->next;
    put_block(b, b->size);
  }
}

void Arena::reset() {
  run_cleanups();
  forgotten_ = nullptr;
  while (Block* next = blocks_->next) {
    put_block(blocks_, blocks_->size);
    blocks_ = next;
  }
  pos_ = reinterpret_cast<char*>(blocks_) + round16(sizeof(Block));
  end_ = reinterpret_cast<char*>(blocks_) + blocks_->size;
}

void* Arena::alloc_slow(size_t n) {
  constexpr size_t head = round16(sizeof(Block));
  if (n > kCommonBlock - head) {
    // Alone in its block; the current one goes on being filled.
    auto* b = static_cast<Block*>(take_block(head + n));
    *b = {blocks_->next, head + n};
    // The first block stays last in the list, the current one first.
    if (blocks_->next) {
      blocks_->next = b;
    } else {
      b->next = blocks_;
      blocks_ = b;
    }
    return reinterpret_cast<char*>(b) + head;
  }
  auto* b = static_cast<Block*>(take_block(kCommonBlock));
  *b = {blocks_, kCommonBlock};
  blocks_ = b;
  char* p = reinterpret_cast<char*>(b) + head;
  pos_ = p + n;
  end_ = reinterpret_cast<char*>(b) + kCommonBlock;
  return p;
}

Str Arena::join(std::initializer_list<Str> parts) {
  size_t n = 0;
  for (Str s : parts) n += s.size();
  char* start = bytes(n);
  char* p = start;
  for (Str s : parts) p = put_bytes(p, s);
  return {start, n};
}

Arena::Cleanup* Arena::on_destroy(void (*fn)(void*), void* data) {
  Cleanup* c = forgotten_;
  if (c)
    forgotten_ = c->next;
  else
    c = static_cast<Cleanup*>(alloc(sizeof(Cleanup)));
  *c = {fn, data, cleanups_, nullptr};
  if (cleanups_) cleanups_->prev = c;
  cleanups_ = c;
  return c;
}

void Arena::forget(Cleanup* c) {
  (c->prev ? c->prev->next : cleanups_) = c->next;
  if (c->next) c->next->prev = c->prev;
  *c = {nullptr, nullptr, forgotten_, nullptr};
  forgotten_ = c;
}

void Arena::run_cleanups() {
  while (Cleanup* c = cleanups_) {
    cleanups_ = c->next;
    if (cleanups_) cleanups_->prev = nullptr;
    if (c->fn) c->fn(c->data);
  }
}

}  // namespace moonphase
