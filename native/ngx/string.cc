// Encodings, digests and escaping for Lua.
#include "base/encode.h"
#include "base/escape.h"
#include "net/digest.h"
#include "ngx/api.h"
#include "ngx/args.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

namespace {

int quote_sql_str(lua_State* L) {
  if (lua_gettop(L) != 1) return luaL_error(L, "expecting one argument");
  std::string text;
  append_sql_quoted(&text, check_str(L, 1), false);
  push_str(L, text);
  return 1;
}

int encode_args(lua_State* L) {
  if (lua_gettop(L) != 1) return luaL_error(L, "expecting 1 argument but seen %d", lua_gettop(L));
  luaL_checktype(L, 1, LUA_TTABLE);
  std::string text;
  append_args(L, 1, &text);
  push_str(L, text);
  return 1;
}

int decode_args(lua_State* L) {
  int n = lua_gettop(L);
  if (n != 1 && n != 2) return luaL_error(L, "expecting 1 or 2 arguments but seen %d", n);
  Str text = check_str(L, 1);
  return push_args(L, text, n == 2 ? static_cast<int>(luaL_checkinteger(L, 2)) : kMaxArgs);
}

int hmac_sha1(lua_State* L) {
  if (lua_gettop(L) != 2) {
    return luaL_error(L, "expecting 2 arguments, but got %d", lua_gettop(L));
  }
  unsigned char digest[net::kSha1Size];
  net::hmac_sha1(check_str(L, 1), check_str(L, 2), digest);
  lua_pushlstring(L, reinterpret_cast<char*>(digest), sizeof digest);
  return 1;
}

}  // namespace

void open_string(lua_State* L) {
  static const luaL_Reg kFunctions[] = {{"quote_sql_str", quote_sql_str},
                                        {"encode_args", encode_args},
                                        {"decode_args", decode_args},
                                        {"hmac_sha1", hmac_sha1},
                                        {nullptr, nullptr}};
  set_functions(L, kFunctions);
}

}  // namespace moonphase::ngx

using namespace moonphase;
using namespace moonphase::ngx;

namespace {
char* chars(unsigned char* p) { return reinterpret_cast<char*>(p); }

int decoded(ptrdiff_t n, size_t* dlen) {
  *dlen = n < 0 ? 0 : static_cast<size_t>(n);
  return n >= 0;
}
}  // namespace

MOONPHASE_FFI size_t ngx_http_lua_ffi_encode_base64(const unsigned char* src, size_t len,
                                                    unsigned char* dst, int no_padding) {
  return base64_encode(chars(dst), str(src, len), Base64::kStandard, !no_padding);
}
MOONPHASE_FFI int ngx_http_lua_ffi_decode_base64(const unsigned char* src, size_t len,
                                                 unsigned char* dst, size_t* dlen) {
  return decoded(base64_decode(chars(dst), str(src, len)), dlen);
}
MOONPHASE_FFI int ngx_http_lua_ffi_decode_base64mime(const unsigned char* src, size_t len,
                                                     unsigned char* dst, size_t* dlen) {
  return decoded(base64_decode_mime(chars(dst), str(src, len)), dlen);
}

MOONPHASE_FFI void ngx_http_lua_ffi_md5_bin(const unsigned char* src, size_t len,
                                            unsigned char* dst) {
  net::md5(str(src, len), dst);
}
MOONPHASE_FFI void ngx_http_lua_ffi_md5(const unsigned char* src, size_t len, unsigned char* dst) {
  unsigned char digest[net::kMd5Size];
  net::md5(str(src, len), digest);
  hex_encode(chars(dst), str(digest, sizeof digest));
}
MOONPHASE_FFI int ngx_http_lua_ffi_sha1_bin(const unsigned char* src, size_t len,
                                            unsigned char* dst) {
  net::sha1(str(src, len), dst);
  return 1;
}
// nginx has two for different lengths; their results are the same.
MOONPHASE_FFI unsigned int ngx_http_lua_ffi_crc32_long(const unsigned char* src, size_t len) {
  return crc32(str(src, len));
}
MOONPHASE_FFI unsigned int ngx_http_lua_ffi_crc32_short(const unsigned char* src, size_t len) {
  return crc32(str(src, len));
}

// lua-resty-core has checked that `type` is 0–6.
MOONPHASE_FFI size_t ngx_http_lua_ffi_uri_escaped_length(const unsigned char* src, size_t len,
                                                         int type) {
  return len + 2 * percent_count(str(src, len), static_cast<Percent>(type));
}
MOONPHASE_FFI void ngx_http_lua_ffi_escape_uri(const unsigned char* src, size_t len,
                                               unsigned char* dst, int type) {
  percent_encode(chars(dst), str(src, len), static_cast<Percent>(type));
}
MOONPHASE_FFI size_t ngx_http_lua_ffi_unescape_uri(const unsigned char* src, size_t len,
                                                   unsigned char* dst) {
  return static_cast<size_t>(percent_decode(chars(dst), str(src, len)) - chars(dst));
}

MOONPHASE_FFI void ngx_http_lua_ffi_str_replace_char(unsigned char* buf, size_t len,
                                                     const unsigned char find,
                                                     const unsigned char replace) {
  for (size_t i = 0; i < len; ++i) {
    if (buf[i] == find) buf[i] = replace;
  }
}
