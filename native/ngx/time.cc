// ngx.time, ngx.now, ngx.today and the other clock functions.
#include <ctime>

#include "base/clock.h"
#include "ngx/api.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

namespace {

// Fixed-size texts go to a buffer that has no room for a NUL.
void put_time(unsigned char* buf, size_t n, const char* format, bool local) {
  time_t sec = moonphase::now().wall_sec();
  struct tm tm;
  local ? localtime_r(&sec, &tm) : gmtime_r(&sec, &tm);
  char text[32];
  if (strftime(text, sizeof text, format, &tm) >= n) std::memcpy(buf, text, n);
}

constexpr size_t kDay = sizeof("2026-01-31") - 1, kSecond = sizeof("2026-01-31 12:00:00") - 1;

}  // namespace

// lua-resty-core makes all of them.
void open_time(lua_State*) {}

}  // namespace moonphase::ngx

using namespace moonphase;
using namespace moonphase::ngx;

MOONPHASE_FFI double ngx_http_lua_ffi_now(void) {
  return static_cast<double>(moonphase::now().wall_ms) / 1000.0;
}
MOONPHASE_FFI long ngx_http_lua_ffi_time(void) { return moonphase::now().wall_sec(); }
MOONPHASE_FFI long ngx_http_lua_ffi_monotonic_msec(void) { return moonphase::now().monotonic_ms; }
MOONPHASE_FFI void ngx_http_lua_ffi_update_time(void) { clock_update(); }

MOONPHASE_FFI void ngx_http_lua_ffi_today(unsigned char* buf) {
  put_time(buf, kDay, "%Y-%m-%d", true);
}
MOONPHASE_FFI void ngx_http_lua_ffi_localtime(unsigned char* buf) {
  put_time(buf, kSecond, "%Y-%m-%d %H:%M:%S", true);
}
MOONPHASE_FFI void ngx_http_lua_ffi_utctime(unsigned char* buf) {
  put_time(buf, kSecond, "%Y-%m-%d %H:%M:%S", false);
}

MOONPHASE_FFI int ngx_http_lua_ffi_cookie_time(unsigned char* buf, long t) {
  char text[40];
  size_t n = format_cookie_date(text, t);
  std::memcpy(buf, text, n);
  return static_cast<int>(n);
}
MOONPHASE_FFI void ngx_http_lua_ffi_http_time(unsigned char* buf, long t) {
  char text[40];
  std::memcpy(buf, text, format_http_date(text, t));
}
MOONPHASE_FFI void ngx_http_lua_ffi_parse_http_time(const unsigned char* s, size_t len,
                                                    long* time) {
  *time = parse_http_date(str(s, len));
}
