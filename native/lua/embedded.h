#ifndef MOONPHASE_LUA_EMBEDDED_H_
#define MOONPHASE_LUA_EMBEDDED_H_

namespace moonphase::lua {

/// A file of lua/, compiled into the addon by scripts/embed-lua.mjs. `name` is its path below lua/;
/// `data` ends with a NUL that `len` does not count.
struct EmbeddedFile {
  const char* name;
  const char* data;
  unsigned len;
};

extern const EmbeddedFile kEmbeddedFiles[];
extern const unsigned kEmbeddedFileCount;

}  // namespace moonphase::lua

#endif  // MOONPHASE_LUA_EMBEDDED_H_
