// What goes into a dictionary and what comes out of it.
#pragma once

#include "base/types.h"

namespace moonphase::shm {

// Lua's type numbers, so that they cross the FFI unchanged; a list has a number of its own.
// kEncoded: bytes that stand for a table or another value that is none of these; who stores them
// knows how to read them.
enum class Type : uint8_t {
  kNil = 0,
  kBoolean = 1,
  kNumber = 3,
  kString = 4,
  kList = 5,
  kEncoded = 6
};

struct Value {
  Type type = Type::kNil;
  double number = 0;  // kNumber; for kBoolean: not 0 means true
  Str bytes;          // kString, kEncoded
};

struct Item {
  Str key;
  Value value;
};

// The operation bits of ngx_http_lua_ffi_shdict_store.
enum StoreMode : int { kSet = 0, kAdd = 1, kReplace = 2, kSafe = 4 };

// `error` is a static text, set whenever rc is not kOk.
struct StoreResult {
  Rc rc = kOk;
  const char* error = nullptr;
  bool forcible = false;  // live entries were evicted to make room
};

struct IncrResult {
  Rc rc = kOk;
  const char* error = nullptr;
  bool forcible = false;
  double number = 0;
};

// Where string bytes are copied while the lock is held. Too small a buffer is replaced once by what
// `grow` returns (null: the call fails with kError). `grow` may allocate; it must not throw, block
// or use the same dictionary.
struct Sink {
  char* data = nullptr;
  size_t capacity = 0;
  char* (*grow)(void* owner, size_t size) = nullptr;
  void* owner = nullptr;
};

struct GetResult {
  Rc rc = kOk;
  const char* error = nullptr;  // may be null even when rc is kError (the buffer could not grow)
  Type type = Type::kNil;       // kNil: no such entry
  double number = 0;            // kNumber, and kBoolean as 0 or 1
  const char* data = nullptr;   // kString, kEncoded: in the sink's buffer or the grown one
  size_t size = 0;
  uint32_t user_flags = 0;
  bool stale = false;
};

// What subscribers are told. Expiry and eviction are no changes.
enum class Change : uint8_t { kSet = 1, kDelete, kFlush, kLost };

struct Stats {
  uint64_t hits = 0, misses = 0;
  uint64_t evictions = 0;    // live entries that made room for others
  uint64_t expirations = 0;  // expired entries whose memory was given back
  uint64_t entries = 0;      // expired ones too, as long as they take memory
  uint64_t bytes = 0;        // of the pages that entries lie in
  uint64_t capacity = 0, free_space = 0;
  uint64_t recoveries = 0;  // processes that died inside an operation
};

// Its fields as Lua and JavaScript name them.
struct StatsField {
  const char* lua;
  const char* js;
  uint64_t Stats::*value;
};
inline constexpr StatsField kStatsFields[] = {
    {"hits", "hits", &Stats::hits},
    {"misses", "misses", &Stats::misses},
    {"evictions", "evictions", &Stats::evictions},
    {"entries", "entries", &Stats::entries},
    {"expirations", "expirations", &Stats::expirations},
    {"bytes", "bytes", &Stats::bytes},
    {"capacity", "capacity", &Stats::capacity},
    {"free_space", "freeSpace", &Stats::free_space},
    {"recoveries", "recoveries", &Stats::recoveries},
};

enum class End { kLeft, kRight };

// rc kDeclined: the entry itself found no memory (Lua sees `false`), kError: everything else (Lua
// sees `nil`).
struct PushResult {
  Rc rc = kOk;
  const char* error = nullptr;
  uint32_t length = 0;
};

}  // namespace moonphase::shm
