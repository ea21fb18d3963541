#include "lua/embedded.h"

#include <string>

#include "lua/chunks.h"

namespace moonphase::lua {

const EmbeddedFile* find_embedded(Str name) {
  for (unsigned i = 0; i < kEmbeddedFileCount; ++i)
    if (name == kEmbeddedFiles[i].name) return &kEmbeddedFiles[i];
  return nullptr;
}

int load_embedded(lua_State* L, const EmbeddedFile& file) {
  std::string chunk = std::string("=moonphase/") + file.name;
  return load_source(L, Str(file.data, file.size), chunk.c_str());
}

}  // namespace moonphase::lua
