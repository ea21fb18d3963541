// What every file of ngx/ uses: the FFI types that lua-resty-core declares, and how a C function
// finds its request.
#pragma once

#include <lua.hpp>

#include "base/types.h"
#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "http/connection.h"
#include "http/request.h"

// A function that Lua finds through ffi.C; its signature is lua-resty-core's.
#define MOONPHASE_FFI extern "C" __attribute__((visibility("default")))

// ngx_str_t and ngx_http_lua_ffi_str_t, ngx_http_lua_ffi_table_elt_t.
struct NgxStr {
  size_t len;
  unsigned char* data;
};
struct NgxFfiStr {
  int len;
  const unsigned char* data;
};
// lua-resty-core lays them behind text, wherever that ends.
struct __attribute__((packed)) NgxFfiElt {
  NgxFfiStr key, value;
};
struct __attribute__((packed)) NgxFfiValue {
  NgxFfiStr text;
};

namespace moonphase::ngx {

using engine::LuaCtx;
using http::Request;

constexpr int kNoReqCtx = engine::kNoReqCtx, kBadContext = engine::kBadContext;

inline Str str(const void* data, size_t n) { return {static_cast<const char*>(data), n}; }
inline Str str(const NgxFfiStr& s) { return str(s.data, static_cast<size_t>(s.len)); }
inline NgxFfiStr ffi_str(Str s) {
  return {static_cast<int>(s.size()), reinterpret_cast<const unsigned char*>(s.data())};
}
inline const unsigned char* bytes(Str s) {
  return reinterpret_cast<const unsigned char*>(s.data());
}
inline unsigned char* mutable_bytes(Str s) {
  return reinterpret_cast<unsigned char*>(const_cast<char*>(s.data()));
}

// A copy with a NUL behind it: what header values need.
inline Str copy_z(Arena& a, Str s) { return {a.c_str(s), s.size()}; }

// Fills an error buffer: *size is its room before and the text's length after. Returns kError.
int ffi_error(unsigned char* buf, size_t* size, const char* fmt, ...)
    __attribute__((format(printf, 3, 4)));
// For `char **err`: the texts are literals, which Lua only reads.
inline int ffi_error(char** err, const char* text) {
  *err = const_cast<char*>(text);
  return kError;
}

// A request that has no client: timers, init_worker… ("API disabled in the current context").
inline bool is_fake(const Request* r) {
  const LuaCtx* ctx = static_cast<const LuaCtx*>(r->lua);
  return ctx && ctx->fake;
}
// The request of a C function, or a Lua error: `missing` where there is none, else the text above
// for a fake one.
Request* client_request(lua_State* L, const char* missing = "no request object found");
// "expecting 2 arguments, but got 3" and the like, with the wording given by the caller.
inline Str check_str(lua_State* L, int i) {
  size_t n;
  const char* p = luaL_checklstring(L, i, &n);
  return {p, n};
}
inline void push_str(lua_State* L, Str s) { lua_pushlstring(L, s.data(), s.size()); }
// The table `name` of the table on the top of the stack, made when missing; pushed.
void push_subtable(lua_State* L, const char* name);
void set_functions(lua_State* L, const luaL_Reg* functions);  // into the table on the top

// Adds `value` (on the top) under `key` (below it) to the table at `index`; a second value makes an
// array. Pops both.
void add_multi_value(lua_State* L, int index);

}  // namespace moonphase::ngx
