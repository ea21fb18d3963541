// HTTP dates, to text and back.
#include "base/dates.h"

#include <cstdio>

#include "base/clock.h"

namespace moonphase {

namespace {

struct Civil {
  int year, month, day, hour, minute, second, weekday;  // month: 0–11
};

// Days since 1970-01-01 to a date and back, by eras of 400 years that begin in March.
Civil civil_from(int64_t sec) {
  if (sec < 0) sec = 0;
  constexpr int64_t kLast = 253402300799;  // 9999-12-31T23:59:59
  if (sec > kLast) sec = kLast;
  int64_t days = sec / 86400;
  int rest = static_cast<int>(sec % 86400);
  Civil c;
  c.weekday = static_cast<int>((days + 4) % 7);
  c.hour = rest / 3600;
  c.minute = rest / 60 % 60;
  c.second = rest % 60;
  days += 719468;  // since 0000-03-01
  int64_t era = days / 146097;
  auto doe = static_cast<unsigned>(days % 146097);
  unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  unsigned mp = (5 * doy + 2) / 153;
  c.day = static_cast<int>(doy - (153 * mp + 2) / 5 + 1);
  c.month = static_cast<int>(mp < 10 ? mp + 2 : mp - 10);
  c.year = static_cast<int>(yoe + era * 400 + (c.month < 2));
  return c;
}

int64_t days_from(int64_t year, int month, int day) {
  if (month < 2) --year;
  int64_t era = (year >= 0 ? year : year - 399) / 400;
  auto yoe = static_cast<unsigned>(year - era * 400);
  unsigned mp = static_cast<unsigned>(month < 2 ? month + 10 : month - 2);
  unsigned doy = (153 * mp + 2) / 5 + static_cast<unsigned>(day) - 1;
  unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
  return era * 146097 + doe - 719468;
}

// Reads what nginx reads: lax about names, strict about digits.
class Reader {
 public:
  explicit Reader(Str s) : p_(s.data()), end_(p_ + s.size()) {}
  size_t left() const { return static_cast<size_t>(end_ - p_); }
  char peek(size_t i = 0) const { return i < left() ? p_[i] : '\0'; }
  void skip(size_t n) { p_ += n < left() ? n : left(); }
  bool eat(char c) {
    if (peek() != c) return false;
    ++p_;
    return true;
  }
  int digits(int n) {  // -1: not digits
    int v = 0;
    for (; n; --n, ++p_) {
      char c = peek();
      if (c < '0' || c > '9') return -1;
      v = v * 10 + (c - '0');
    }
    return v;
  }
  int month() {
    char second = peek(1), third = peek(2);
    switch (peek()) {
      case 'J':
        return second == 'a' ? 0 : third == 'n' ? 5 : 6;
      case 'F':
        return 1;
      case 'M':
        return third == 'r' ? 2 : 4;
      case 'A':
        return second == 'p' ? 3 : 7;
      case 'S':
        return 8;
      case 'O':
        return 9;
      case 'N':
        return 10;
      case 'D':
        return 11;
      default:
        return -1;
    }
  }

 private:
  const char* p_;
  const char* end_;
};

}  // namespace

size_t format_http_date(char* buf, int64_t sec) {
  Civil c = civil_from(sec);
  int n = std::snprintf(buf, 32, "%s, %02d %s %4d %02d:%02d:%02d GMT", kDayNames[c.weekday], c.day,
                        kMonthNames[c.month], c.year, c.hour, c.minute, c.second);
  return static_cast<size_t>(n);
}

size_t format_cookie_date(char* buf, int64_t sec) {
  Civil c = civil_from(sec);
  // Two digits of the year as long as old browsers can read them.
  bool full = c.year > 2037;
  int n = std::snprintf(
      buf, 32, full ? "%s, %02d-%s-%d %02d:%02d:%02d GMT" : "%s, %02d-%s-%02d %02d:%02d:%02d GMT",
      kDayNames[c.weekday], c.day, kMonthNames[c.month], full ? c.year : c.year % 100, c.hour,
      c.minute, c.second);
  return static_cast<size_t>(n);
}

int64_t parse_http_date(Str s) {
  // Tue, 10 Nov 2002 23:50:13 | Tuesday, 10-Dec-02 23:50:13 | Tue Dec 10 23:50:13 2002
  enum { kRfc822, kRfc850, kAsctime } form = kRfc822;
  size_t i = 0;
  while (i < s.size() && s[i] != ',' && s[i] != ' ') ++i;
  if (i < s.size() && s[i] == ' ') form = kAsctime;
  if (i < s.size()) ++i;
  while (i < s.size() && s[i] == ' ') ++i;
  Reader in(s.substr(i));
  if (in.left() < 18) return -1;

  int day = 0, year = 0;
  if (form != kAsctime) {
    day = in.digits(2);
    if (day < 0) return -1;
    if (in.peek() == ' ') {
      if (in.left() < 18) return -1;
      form = kRfc822;
    } else if (in.peek() == '-') {
      form = kRfc850;
    } else {
      return -1;
    }
    in.skip(1);
  }
  int month = in.month();
  if (month < 0) return -1;
  in.skip(3);
  if ((form == kRfc822 && in.peek() != ' ') || (form == kRfc850 && in.peek() != '-')) return -1;
  in.skip(1);
  if (form == kRfc822) {
    year = in.digits(4);
    if (year < 0) return -1;
  } else if (form == kRfc850) {
    year = in.digits(2);
    if (year < 0) return -1;
    year += year < 70 ? 2000 : 1900;
  } else {
    in.eat(' ');
    day = in.digits(1);
    if (day < 0) return -1;
    if (in.peek() != ' ') {
      int unit = in.digits(1);
      if (unit < 0) return -1;
      day = day * 10 + unit;
    }
    if (in.left() < 14) return -1;
  }
  if (!in.eat(' ')) return -1;
  int hour = in.digits(2);
  if (hour < 0 || !in.eat(':')) return -1;
  int minute = in.digits(2);
  if (minute < 0 || !in.eat(':')) return -1;
  int second = in.digits(2);
  if (second < 0) return -1;
  if (form == kAsctime) {
    if (!in.eat(' ')) return -1;
    year = in.digits(4);
    if (year < 0) return -1;
  }
  if (hour > 23 || minute > 59 || second > 59) return -1;
  static constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (day == 29 && month == 1) {
    if ((year & 3) || (year % 100 == 0 && year % 400 != 0)) return -1;
  } else if (day > kDays[month]) {
    return -1;
  }
  return days_from(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
}

}  // namespace moonphase
