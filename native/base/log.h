// error.log in nginx's format, unbuffered:
//   2026/01/01 00:00:00 [error] PID#TID: *CONNECTION message, client: …, server: …, request: "…",
//   host: "…"
#pragma once

#include <cinttypes>
#include <cstdarg>

#include "base/types.h"

namespace moonphase {

// nginx's numbers: ngx.STDERR … ngx.DEBUG are these.
enum LogLevel : int {
  kLogStderr = 0,
  kLogEmerg,
  kLogAlert,
  kLogCrit,
  kLogErr,
  kLogWarn,
  kLogNotice,
  kLogInfo,
  kLogDebug,
};
Str log_level_name(int level);

// One place that lines go to (a file reopened by USR1, stderr, syslog). Shared by all logs that
// name it.
class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void write(int level, Str line) = 0;  // `line` ends with \n
  virtual void reopen() {}
};

// What a request or connection adds behind the message (", client: …, server: …").
class LogContext {
 public:
  virtual ~LogContext() = default;
  // Appends to [p, end), returns the new end.
  virtual char* append(char* p, char* end) const = 0;
  uint64_t connection = 0;       // the *N; 0: none
  const char* action = nullptr;  // "reading client request headers": printed behind " while "
};

// Sinks with thresholds, as one `error_log` level of the configuration has them.
struct Log {
  struct Target {
    LogSink* sink;
    int level;
  };
  const Target* targets = nullptr;
  unsigned count = 0;
  int max_level = kLogErr;  // the highest of all targets: the check before anything is formatted
  bool enabled(int level) const { return level <= max_level; }
};

// Longest line that nginx writes (NGX_MAX_ERROR_STR).
constexpr size_t kMaxErrorStr = 4096;

// Cold: what leads to a line is laid out apart from what runs for every request.
// printf formats; `err` is an errno, 0 for none, printed as nginx does: " (111: Connection
// refused)".
void log_write(const Log& log, const LogContext* ctx, int level, int err, const char* fmt, ...)
    __attribute__((cold, format(printf, 5, 6)));
void log_writev(const Log& log, const LogContext* ctx, int level, int err, const char* fmt,
                va_list ap) __attribute__((cold));
// A message of bytes as they are (may hold NULs); cut at kMaxErrorStr.
void log_bytes(const Log& log, const LogContext* ctx, int level, Str message);

// Appends " (111: Connection refused)".
char* append_errno(char* p, char* end, int err);

// Sees every line that is written, whole but without its line feed, before it goes to the sinks
// (lua_capture_error_log); returns true to swallow it. One per thread.
using LogTap = bool (*)(int level, Str line, void* data);
void set_log_tap(LogTap tap, void* data);

// A pointer as nginx writes it: "%" PTR with ptr(x).
#define PTR "016" PRIXPTR
inline uintptr_t ptr(const void* p) { return reinterpret_cast<uintptr_t>(p); }

// Printf helper for Str: "%.*s", STR(x).
#define STR(s) static_cast<int>((s).size()), (s).data()

}  // namespace moonphase
