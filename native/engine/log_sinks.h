// Where error log lines go: files, standard error, syslog.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "base/syslog.h"

namespace moonphase::engine {

// `kind` as the Plan has it: "file" (appended to, unbuffered, reopened by USR1), "stderr", "memory"
// (the last bytes of a ring, for debugging). Null with *error in nginx's words: open() "PATH"
// failed (13: Permission denied).
std::unique_ptr<LogSink> open_sink(Str kind, Str path, std::string* error);

// Lines to a syslog server, which must live longer.
std::unique_ptr<LogSink> syslog_sink(Syslog* server);

}  // namespace moonphase::engine
