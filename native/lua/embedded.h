// Lua files of ours, compiled in (scripts/embed-lua.mjs makes the table from lua/).
#pragma once

#include <lua.hpp>

#include <cstddef>

#include "base/types.h"

namespace moonphase::lua {

struct EmbeddedFile {
  const char* name;  // "ngx/proxyssl.lua"
  const char* data;
  size_t size;
};
extern const EmbeddedFile kEmbeddedFiles[];
extern const unsigned kEmbeddedFileCount;

const EmbeddedFile* find_embedded(Str name);
// Pushes the loaded file's main function or an error message.
int load_embedded(lua_State* L, const EmbeddedFile& file);

}  // namespace moonphase::lua
