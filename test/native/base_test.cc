// Arena, dates, clock texts, log lines.
#include <cstring>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "http_check.h"

using namespace moonphase;

namespace {

struct Keep final : LogSink {
  std::string text;
  void write(int, Str line) override { text += line; }
};

struct Tail final : LogContext {
  char* append(char* p, char* end) const override {
    Str s = ", client: x";
    return put_bytes(p, s.substr(0, static_cast<size_t>(end - p)));
  }
};

void arena() {
  std::string order;
  static std::string* s_order = &order;
  {
    Arena a(256);
    for (size_t n : {size_t{0}, size_t{1}, size_t{100}, size_t{5000}, size_t{100000}, size_t{17}}) {
      void* p = a.alloc(n);
      check(p && reinterpret_cast<uintptr_t>(p) % 16 == 0, "aligned");
      std::memset(p, 1, n);
    }
    same(a.join({"a", "", "bc", Str()}), "abc", "join");
    same(a.c_str("xyz"), "xyz", "c_str");
    a.on_destroy([](void* p) { *s_order += *static_cast<char*>(p); }, const_cast<char*>("1"));
    a.on_destroy([](void* p) { *s_order += *static_cast<char*>(p); }, const_cast<char*>("2"))->fn =
        nullptr;
    a.on_destroy([](void* p) { *s_order += *static_cast<char*>(p); }, const_cast<char*>("3"));
    a.reset();
    same(order, "31", "cleanups, last first");
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 1000; ++i) std::memset(a.bytes(100), 2, 100);
      a.reset();
    }
    a.on_destroy([](void* p) { *s_order += *static_cast<char*>(p); }, const_cast<char*>("4"));
  }
  same(order, "314", "cleanup at the end");
}

void dates() {
  char b[40];
  auto http = [&](int64_t t) { return std::string(b, format_http_date(b, t)); };
  same(http(0), "Thu, 01 Jan 1970 00:00:00 GMT", "0");
  same(http(951782400), "Tue, 29 Feb 2000 00:00:00 GMT", "leap day");
  same(http(4102444799), "Thu, 31 Dec 2099 23:59:59 GMT", "2099");
  same(http(253402300799 + 5), "Fri, 31 Dec 9999 23:59:59 GMT", "the end");
  same(http(-5), "Thu, 01 Jan 1970 00:00:00 GMT", "before");
  same(std::string(b, format_cookie_date(b, 1290079655)), "Thu, 18-Nov-10 11:27:35 GMT", "cookie");
  same(std::string(b, format_cookie_date(b, 4102444799)), "Thu, 31-Dec-2099 23:59:59 GMT",
       "late cookie");
  for (int64_t t = 0; t < 4000000000; t += 86399 * 3 + 1) {
    if (parse_http_date(http(t)) == t) continue;
    check(false, "round trip", http(t));
    break;
  }
  check(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT") == 784111777, "rfc 850");
  check(parse_http_date("Sun Nov  6 08:49:37 1994") == 784111777, "asctime");
  check(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT") == 784111777, "rfc 822");
  check(parse_http_date("Tuesday, 10-Dec-69 23:50:13") == 3153945013, "two digits below 70");
  for (const char* bad : {"", "x", "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 29 Feb 1995 08:49:37 GMT",
                          "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
                          "Sun, 06 Xyz 1994 08:49:37", "Sun, 06 Nov 94 08:49:37 GMT",
                          "Sun, 06-Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994"})
    check(parse_http_date(bad) == -1, "not a date", bad);
}

void clock() {
  clock_update();
  check(http_date().size() == 29 && http_date().substr(26) == "GMT", "http date");
  check(log_date().size() == 19 && log_date()[4] == '/', "log date");
  check(access_log_date().size() == 26 && access_log_date()[2] == '/', "access log date");
  check(iso8601_date().size() == 25 && iso8601_date()[10] == 'T', "iso date");
  check(parse_http_date(http_date()) == now().wall_sec(), "the same second");
  int64_t next = next_time_of_day(0);
  check(next > now().wall_sec() && next - now().wall_sec() <= 90000, "midnight");
}

void logs() {
  Keep keep, other;
  Log::Target targets[] = {{&keep, kLogErr}, {&other, kLogInfo}};
  Log log{targets, 2, kLogInfo};
  Tail tail;
  tail.connection = 7;
  log_write(log, &tail, kLogErr, 111, "connect() failed");
  check(keep.text.find(" [error] ") == 19, "level", keep.text);
  check(keep.text.find(": *7 connect() failed (111: Connection refused), client: x\n") !=
            std::string::npos,
        "line", keep.text);
  same(other.text, keep.text, "both");
  keep.text.clear();
  log_write(log, nullptr, kLogInfo, 0, "quiet %d", 5);
  same(keep.text, "", "below the level");
  check(other.text.find("quiet 5\n") != std::string::npos, "info");
  log_write(log, nullptr, kLogDebug, 0, "never");
  check(other.text.find("never") == std::string::npos, "debug");
  keep.text.clear();
  log_write(log, &tail, kLogErr, 0, "%s", std::string(10000, 'x').c_str());
  check(keep.text.size() == kMaxErrorStr && keep.text.back() == '\n', "longest line",
        std::to_string(keep.text.size()));
  keep.text.clear();
  log_bytes(log, nullptr, kLogErr, Str("a\0b", 3));
  check(keep.text.find(Str("a\0b\n", 4)) != std::string::npos, "NUL");
  static std::string tapped;
  set_log_tap(
      [](int, Str line, void*) {
        tapped = line;
        return true;
      },
      nullptr);
  keep.text.clear();
  log_write(log, nullptr, kLogErr, 0, "caught");
  same(keep.text, "", "swallowed");
  check(tapped.size() > 6 && tapped.substr(tapped.size() - 6) == "caught", "tap", tapped);
  set_log_tap(nullptr, nullptr);
}

}  // namespace

int main() {
  arena();
  dates();
  clock();
  logs();
  return g_failures != 0;
}
