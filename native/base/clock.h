// Cached time, updated once per loop turn, as nginx's is.
#pragma once

#include "base/types.h"

namespace moonphase {

struct Clock {
  int64_t wall_ms = 0;       // since the epoch; ngx.now() * 1000
  int64_t monotonic_ms = 0;  // for timeouts
  int64_t wall_sec() const { return wall_ms / 1000; }
};

// The thread's clock: one loop per thread.
extern constinit thread_local Clock t_clock;
inline const Clock& now() { return t_clock; }
void clock_update();      // reads the system's clocks
void clock_reset_zone();  // the time zone may have changed: forget the cached texts

// Texts of the cached second, made on first use in that second; valid until the next update.
Str http_date();        // Mon, 28 Sep 1970 06:00:00 GMT
Str log_date();         // 1970/09/28 12:00:00, of error.log
Str access_log_date();  // 28/Sep/1970:12:00:00 +0600
Str iso8601_date();     // 1970-09-28T12:00:00+06:00
Str syslog_date();      // Sep  8 12:00:00
// Formatting and parsing of other times. Buffers: at least 32 bytes; return the length.
size_t format_http_date(char* buf, int64_t sec);
size_t format_cookie_date(char* buf, int64_t sec);  // Thu, 18-Nov-10 11:27:35 GMT
int64_t parse_http_date(Str s);                     // -1: not a date; all three formats
// The next moment at which the local clock shows `seconds` after midnight (expires @15h30m); -1:
// none.
int64_t next_time_of_day(int64_t seconds);

}  // namespace moonphase
