// access_log: formats, conditions, files.
#pragma once

#include "engine/plan.h"
#include "http/request.h"
#include "net/loop.h"

namespace moonphase::engine {

using http::Request;

// A log file under a fixed name; shared by all access_log directives that name it.
class LogFile {
 public:
  explicit LogFile(std::string path) : path(std::move(path)) {}
  ~LogFile();
  LogFile(const LogFile&) = delete;
  bool open();  // false: errno
  void reopen();
  // Appends a line; with `buffer` bytes of room it may wait until there is no more, or for `flush`
  // ms.
  void write(Request* r, Str line, int64_t buffer, int64_t flush);
  void flush();
  const std::string path;

 private:
  bool write_now(Str bytes, int* err);
  int fd_ = -1;
  std::string held_;
  net::Timer timer_{};
  int64_t complained_ = 0;  // second of the last alert: one a minute
};

// The lines of all access logs of the request's location.
void write_access_log(Request* r);
// A format's line for the request, with its escaping, without the newline (for tests too).
Str format_line(Request* r, const LogFormat& format);

}  // namespace moonphase::engine
