// lua-cjson's API (OpenResty's fork): what its files share.
#pragma once

#include <lua.hpp>

#include <string>

#include "base/types.h"

namespace moonphase::ngx::cjson {

// The settings of one `cjson.new()`; upvalue 1 of its functions. Enumerations are ints because a
// setter gives them out.
struct Config {
  int encode_sparse_convert = 0;
  int encode_sparse_ratio = 2;
  int encode_sparse_safe = 10;
  int encode_max_depth = 1000;
  int encode_invalid_numbers = 0;  // off, on, null
  int encode_number_precision = 14;
  int encode_keep_buffer = 1;
  int encode_empty_table_as_object = 1;
  int encode_escape_forward_slash = 1;
  int encode_skip_unsupported_value_types = 0;
  std::string encode_indent;
  int decode_invalid_numbers = 1;
  int decode_max_depth = 1000;
  int decode_array_with_array_mt = 0;
  int decode_allow_comment = 0;

  std::string buffer;  // the last encoded text's memory, with encode_keep_buffer
};

// Registry keys, as light userdata; kArray's is also cjson.empty_array.
void* array_key();
void* empty_array_key();

// Appends the value on the top of the stack. Raises Lua errors.
void encode(lua_State* L, const Config& config, std::string* out);
// Pushes the decoded value.
void decode(lua_State* L, const Config& config, Str text);
// The same by lua-cjson's own rules: what yyjson refuses is either something that lua-cjson allows
// (NaN, hexadecimal numbers, control characters in strings) or an error whose text names the place.
void decode_leniently(lua_State* L, const Config& config, Str text);

}  // namespace moonphase::ngx::cjson
