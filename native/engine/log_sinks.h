// Where error log lines go: files and standard error.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"

namespace moonphase::engine {

// `kind` as the Plan has it: "file" (appended to, unbuffered, reopened by USR1), "stderr", "syslog"
// (the parameters of the directive: server=…,facility=…,tag=…), "memory" (the last bytes of a ring,
// for debugging). Null with *error in nginx's words: open() "PATH" failed (13: Permission denied).
std::unique_ptr<LogSink> open_sink(Str kind, Str path, std::string* error);

}  // namespace moonphase::engine
