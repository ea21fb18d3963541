// Query arguments between Lua tables and text.
#pragma once

#include <lua.hpp>

#include <string>

#include "base/types.h"

namespace moonphase::ngx {

constexpr int kMaxArgs = 100;

// The table at `index` as "a=1&b": the `args` option of captures, exec and redirects,
// ngx.encode_args. Raises Lua errors.
void append_args(lua_State* L, int index, std::string* out);
// Pushes the table of `text`'s arguments, and "truncated" behind it when there are more than `max`
// (0: no limit).
int push_args(lua_State* L, Str text, int max);

}  // namespace moonphase::ngx
