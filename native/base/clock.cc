#include "base/clock.h"

#include <ctime>

#include "base/dates.h"

namespace moonphase {

constinit thread_local Clock t_clock;

namespace {

// The texts of one second. A field is empty until somebody asks.
struct Texts {
  int64_t http_sec = -1, local_sec = -1;
  size_t http_len = 0, log_len = 0, access_len = 0, iso_len = 0, syslog_len = 0;
  char http[32], log[32], access[32], iso[32], syslog[32];
};
thread_local Texts t_texts;

char* two(char* p, int v) {
  p[0] = static_cast<char>('0' + v / 10 % 10);
  p[1] = static_cast<char>('0' + v % 10);
  return p + 2;
}
char* four(char* p, int v) { return two(two(p, v / 100), v % 100); }
char* text(char* p, const char* s) {
  while (*s) *p++ = *s++;
  return p;
}
char* time_of_day(char* p, const tm& t) {
  p = two(p, t.tm_hour);
  *p++ = ':';
  p = two(p, t.tm_min);
  *p++ = ':';
  return two(p, t.tm_sec);
}

void make_local(Texts& x, int64_t sec) {
  time_t when = sec;
  tm t;
  localtime_r(&when, &t);
  int year = t.tm_year + 1900;
  int zone = static_cast<int>(t.tm_gmtoff / 60);
  char sign = zone < 0 ? '-' : '+';
  if (zone < 0) zone = -zone;

  char* p = four(x.log, year);
  *p++ = '/';
  p = two(p, t.tm_mon + 1);
  *p++ = '/';
  p = two(p, t.tm_mday);
  *p++ = ' ';
  p = time_of_day(p, t);
  x.log_len = static_cast<size_t>(p - x.log);

  p = two(x.access, t.tm_mday);
  *p++ = '/';
  p = text(p, kMonthNames[t.tm_mon]);
  *p++ = '/';
  p = four(p, year);
  *p++ = ':';
  p = time_of_day(p, t);
  *p++ = ' ';
  *p++ = sign;
  p = two(two(p, zone / 60), zone % 60);
  x.access_len = static_cast<size_t>(p - x.access);

  p = four(x.iso, year);
  *p++ = '-';
  p = two(p, t.tm_mon + 1);
  *p++ = '-';
  p = two(p, t.tm_mday);
  *p++ = 'T';
  p = time_of_day(p, t);
  *p++ = sign;
  p = two(p, zone / 60);
  *p++ = ':';
  p = two(p, zone % 60);
  x.iso_len = static_cast<size_t>(p - x.iso);

  p = text(x.syslog, kMonthNames[t.tm_mon]);
  *p++ = ' ';
  p = two(p, t.tm_mday);
  if (t.tm_mday < 10) p[-2] = ' ';
  *p++ = ' ';
  p = time_of_day(p, t);
  x.syslog_len = static_cast<size_t>(p - x.syslog);
  x.local_sec = sec;
}

Texts& local() {
  int64_t sec = t_clock.wall_sec();
  Texts& x = t_texts;
  if (x.local_sec != sec) make_local(x, sec);
  return x;
}

}  // namespace

void clock_update() {
  timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  t_clock.wall_ms = int64_t{ts.tv_sec} * 1000 + ts.tv_nsec / 1000000;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  t_clock.monotonic_ms = int64_t{ts.tv_sec} * 1000 + ts.tv_nsec / 1000000;
}

void clock_reset_zone() {
  tzset();
  t_texts = Texts();
}

Str http_date() {
  int64_t sec = t_clock.wall_sec();
  Texts& x = t_texts;
  if (x.http_sec != sec) {
    x.http_len = format_http_date(x.http, sec);
    x.http_sec = sec;
  }
  return {x.http, x.http_len};
}

Str log_date() {
  Texts& x = local();
  return {x.log, x.log_len};
}
Str access_log_date() {
  Texts& x = local();
  return {x.access, x.access_len};
}
Str iso8601_date() {
  Texts& x = local();
  return {x.iso, x.iso_len};
}

Str syslog_date() {
  Texts& x = local();
  return {x.syslog, x.syslog_len};
}

int64_t next_time_of_day(int64_t seconds) {
  time_t present = t_clock.wall_sec();
  tm t;
  localtime_r(&present, &t);
  t.tm_hour = static_cast<int>(seconds / 3600);
  t.tm_min = static_cast<int>(seconds % 3600 / 60);
  t.tm_sec = static_cast<int>(seconds % 60);
  time_t next = mktime(&t);
  if (next == -1 || next > present) return next;
  t.tm_mday++;
  return mktime(&t);
}

}  // namespace moonphase
