// What a response cache knows of its files, in shared memory: a node for each key, found by hash,
// in the order of the last use. All workers see the same. A fixed number of nodes.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "shm/mutex.h"

namespace moonphase::shm {

constexpr size_t kCacheKey = 16;  // an MD5

struct CacheNode {
  uint32_t next;          // in its bucket, or in the free list
  uint32_t newer, older;  // by use
  uint32_t used;          // 0: free; set last
  unsigned char key[kCacheKey];
  int32_t count;  // requests that hold it
  uint32_t uses;
  uint16_t error;  // a status that is remembered without a file
  uint8_t exists;  // there is a file
  uint8_t updating;
  uint32_t body_start;
  uint64_t uniq;   // the file's inode
  int64_t expire;  // wall seconds: unused until then, it goes
  int64_t valid_sec;
  int64_t size;       // bytes of the file on disk
  int64_t lock_time;  // monotonic ms, of the machine: who updates has until then
};

class CacheIndex {
 public:
  // The memory of a zone, zero where nobody has formatted it. `place` tells where the files are:
  // memory that stands for another place is refused. False: *error.
  static bool open(char* base, uint64_t size, const std::string& place, CacheIndex* out,
                   std::string* error);
  explicit operator bool() const { return base_ != nullptr; }

  // Around all of the following. A thread holds one such lock at a time.
  void lock();
  void unlock();

  CacheNode* find(const unsigned char* key);
  // Null: no node is free.
  CacheNode* add(const unsigned char* key);
  void remove(CacheNode* node);
  void touch(CacheNode* node);  // the newest
  CacheNode* oldest();
  CacheNode* newer_than(const CacheNode* node);

  // Bytes of all files, and how many keys.
  int64_t& bytes();
  uint32_t count() const;
  // The files on disk are not all known yet.
  bool cold() const;
  void warm();
  // True for one process at a time: it has `what` to do for the next `ms`.
  enum Duty : uint8_t { kLoad, kManage };
  bool take(Duty what, int64_t now_ms, int64_t ms);

 private:
  struct Head;
  Head* head() const { return reinterpret_cast<Head*>(base_); }
  uint32_t* buckets() const;
  CacheNode* nodes() const;
  CacheNode* at(uint32_t i) const { return i == kNone ? nullptr : nodes() + i; }
  uint32_t number(const CacheNode* n) const { return static_cast<uint32_t>(n - nodes()); }
  uint32_t bucket(const unsigned char* key) const;
  void link_newest(uint32_t i);
  void unlink(const CacheNode* n);
  void repair();
  static constexpr uint32_t kNone = 0xffffffff;
  char* base_ = nullptr;
};

}  // namespace moonphase::shm
