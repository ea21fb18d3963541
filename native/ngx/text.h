// Lua values as the text that ngx.say, ngx.log and body filters make of them. All may raise Lua
// errors.
#pragma once

#include <lua.hpp>

#include <string>

namespace moonphase::ngx {

// Integers of 32 bits in full, others with LuaJIT's 14 digits.
void append_number(std::string* out, double n);
// A string, number, nil, boolean or null; false when the value at `index` is none of these.
bool append_scalar(lua_State* L, int index, std::string* out);
// An array of them, nested ones included. `strict` allows only strings and numbers. Errors name
// argument `arg`: "non-array table found", "bad data type X found".
void append_array(lua_State* L, int index, int arg, bool strict, std::string* out);

}  // namespace moonphase::ngx
