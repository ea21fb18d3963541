// LuaJIT's string.buffer encoding, in which dictionaries of any values keep tables, to and from
// JavaScript: arrays are tables from 1 on, objects have text as keys, bigint is a 64-bit number.
#pragma once

#include <node_api.h>

#include <string>

#include "base/types.h"

namespace moonphase::bind {

// Null, or what cannot be encoded.
const char* encode_value(napi_env env, napi_value value, std::string* out);
// Null: the bytes are no such encoding.
napi_value decode_value(napi_env env, Str bytes);
// Text that is UTF-8 as a string, else a Buffer.
napi_value text_value(napi_env env, const char* data, size_t n);

}  // namespace moonphase::bind
