#include "engine/upstream/cache_file.h"

#include <array>
#include <cstring>
#include <string>

#include "net/digest.h"

namespace moonphase::engine {

namespace {

constexpr Str kKeyMark = "\nKEY: ";

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = c & 1 ? 0xedb88320 ^ (c >> 1) : c >> 1;
    table[i] = c;
  }
  return table;
}

}  // namespace

uint32_t cache_crc32(Str key) {
  static constexpr std::array<uint32_t, 256> kTable = make_table();
  uint32_t crc = 0xffffffff;
  for (const char c : key) crc = kTable[(crc ^ static_cast<unsigned char>(c)) & 0xff] ^ (crc >> 8);
  return crc ^ 0xffffffff;
}

void write_cache_header(char* to, const CacheHeader& header, Str key) {
  std::memcpy(to, &header, sizeof header);
  to += sizeof header;
  std::memcpy(to, kKeyMark.data(), kKeyMark.size());
  to += kKeyMark.size();
  std::memcpy(to, key.data(), key.size());
  to[key.size()] = '\n';
}

const char* check_cache_header(const CacheHeader& h, Str after, Str key) {
  if (h.version != kCacheVersion) return "version mismatch";
  if (h.crc32 != cache_crc32(key) || h.header_start != cache_header_start(key.size()))
    return "has md5 collision";
  if (after.size() < kKeyMark.size() + key.size() ||
      after.substr(kKeyMark.size(), key.size()) != key)
    return "has md5 collision";
  if (h.body_start < h.header_start || h.vary_size > sizeof h.vary || h.etag_size > sizeof h.etag)
    return "has too long header";
  return nullptr;
}

void cache_variant(const unsigned char* main_key, Str vary, Str (*value)(void*, Str), void* owner,
                   unsigned char* out) {
  std::string text(reinterpret_cast<const char*>(main_key), net::kMd5Size);
  while (!vary.empty()) {
    const size_t begin = vary.find_first_not_of(" ,\t");
    if (begin == Str::npos) break;
    vary.remove_prefix(begin);
    const size_t end = vary.find_first_of(" ,\t");
    std::string name(vary.substr(0, end));
    vary = end == Str::npos ? Str() : vary.substr(end);
    for (char& c : name)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    text += name + ":";
    // Lists that differ in blanks only are the same.
    Str rest = value(owner, name);
    bool first = true;
    while (!rest.empty()) {
      const size_t at = rest.find_first_not_of(" ,\t");
      if (at == Str::npos) break;
      rest.remove_prefix(at);
      const size_t stop = rest.find_first_of(" ,\t");
      if (!first) text += ',';
      first = false;
      text.append(rest.substr(0, stop));
      rest = stop == Str::npos ? Str() : rest.substr(stop);
    }
    text += "\r\n";
  }
  net::md5(text, out);
}

}  // namespace moonphase::engine
