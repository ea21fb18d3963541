// A kept answer's file: what is known about the answer, its key, the head as the server sent it,
// the body. The layout is nginx's, so that either finds what the other has kept.
#pragma once

#include "base/types.h"

namespace moonphase::engine {

struct CacheHeader {
  uint64_t version;
  int64_t valid_sec, updating_sec, error_sec;  // wall seconds; the others count from valid_sec
  int64_t last_modified, date;
  uint32_t crc32;
  uint16_t valid_msec, header_start, body_start;
  uint8_t etag_size;
  char etag[128];
  uint8_t vary_size;
  char vary[128];
  unsigned char variant[16];
};
constexpr uint64_t kCacheVersion = 5;

constexpr size_t cache_header_start(size_t key_size) {
  return sizeof(CacheHeader) + sizeof "\nKEY: " - 1 + key_size + 1;
}
uint32_t cache_crc32(Str key);
// Writes the header and the key to `to`, which has header_start bytes.
void write_cache_header(char* to, const CacheHeader& header, Str key);
// Null, or what is wrong with the first bytes of a file of that key.
const char* check_cache_header(const CacheHeader& header, Str after, Str key);
// The hash of the request headers that `vary` names; `value` tells what the request has.
void cache_variant(const unsigned char* main_key, Str vary, Str (*value)(void* owner, Str name),
                   void* owner, unsigned char* out);

}  // namespace moonphase::engine
