// Plain objects and tables in one go. Node-API takes a call or more for each property; here
// lib/codec.ts and this side write what an object or table holds into memory that both have, and
// the other side makes one of it. Only what JSON would hold goes this way; all else, and what does
// not fit, is left to the walkers in luavm_push.cc and luavm_read.cc.
#pragma once

#include "bind/luavm.h"

namespace moonphase::bind {

void define_codec(napi_env env, napi_value exports);
// Pushes a table. False: nothing is pushed, and nothing has happened.
bool codec_push(VmHost* host, lua_State* L, napi_value object);
// Null: it does not go this way.
napi_value codec_read(VmHost* host, lua_State* L, int index);

}  // namespace moonphase::bind
