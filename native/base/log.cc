#include "base/log.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "base/clock.h"

namespace moonphase {

namespace {

constexpr Str kNames[] = {"", "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"};

thread_local LogTap t_tap = nullptr;
thread_local void* t_tap_data = nullptr;
thread_local bool t_in_tap = false;

char* put(char* p, const char* end, Str s) {
  size_t room = p < end ? static_cast<size_t>(end - p) : 0;
  return put_bytes(p, s.substr(0, room));
}

char* putf(char* p, char* end, const char* fmt, ...) __attribute__((format(printf, 3, 4)));
char* putf(char* p, char* end, const char* fmt, ...) {
  if (p >= end) return p;
  va_list ap;
  va_start(ap, fmt);
  int n = std::vsnprintf(p, static_cast<size_t>(end - p), fmt, ap);
  va_end(ap);
  if (n < 0) return p;
  return n < end - p ? p + n : end - 1;
}

// One line being made: prefix, message, tail.
struct Line {
  char text[kMaxErrorStr + 1];
  char* end = text + kMaxErrorStr;
  char* p = text;

  Line(int level, const LogContext* ctx) {
    p = put(p, end, log_date());
    p = putf(p, end, " [%.*s] %d#%ld: ", STR(log_level_name(level)), static_cast<int>(getpid()),
             static_cast<long>(syscall(SYS_gettid)));
    if (ctx && ctx->connection)
      p = putf(p, end, "*%llu ", static_cast<unsigned long long>(ctx->connection));
  }
  void finish(const Log& log, const LogContext* ctx, int level, int err) {
    if (err) p = append_errno(p, end, err);
    if (level != kLogDebug && ctx) p = ctx->append(p, end);
    if (p > end - 1) p = end - 1;
    if (t_tap && !t_in_tap) {
      t_in_tap = true;
      bool swallowed = t_tap(level, {text, static_cast<size_t>(p - text)}, t_tap_data);
      t_in_tap = false;
      if (swallowed) return;
    }
    *p++ = '\n';
    Str line{text, static_cast<size_t>(p - text)};
    for (unsigned i = 0; i < log.count; ++i)
      if (level <= log.targets[i].level) log.targets[i].sink->write(level, line);
  }
};

}  // namespace

Str log_level_name(int level) { return level >= 0 && level <= kLogDebug ? kNames[level] : Str(); }

char* append_errno(char* p, char* end, int err) {
  if (p > end - 50) {
    p = end - 50;
    p = put(p, end, "...");
  }
  char text[128];
  const char* s = strerror_r(err, text, sizeof text);
  return putf(p, end, " (%d: %s)", err, s);
}

void log_writev(const Log& log, const LogContext* ctx, int level, int err, const char* fmt,
                va_list ap) {
  if (!log.enabled(level)) return;
  Line line(level, ctx);
  int n = std::vsnprintf(line.p, static_cast<size_t>(line.end - line.p), fmt, ap);
  if (n > 0) line.p = n < line.end - line.p ? line.p + n : line.end - 1;
  line.finish(log, ctx, level, err);
}

void log_write(const Log& log, const LogContext* ctx, int level, int err, const char* fmt, ...) {
  if (!log.enabled(level)) return;
  va_list ap;
  va_start(ap, fmt);
  log_writev(log, ctx, level, err, fmt, ap);
  va_end(ap);
}

void log_bytes(const Log& log, const LogContext* ctx, int level, Str message) {
  if (!log.enabled(level)) return;
  Line line(level, ctx);
  line.p = put(line.p, line.end, message);
  line.finish(log, ctx, level, 0);
}

void set_log_tap(LogTap tap, void* data) {
  t_tap = tap;
  t_tap_data = data;
}

}  // namespace moonphase
