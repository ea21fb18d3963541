#include "engine/access_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/clock.h"
#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"

namespace moonphase::engine {

// --- files ---

LogFile::~LogFile() {
  flush();
  if (fd_ >= 0) ::close(fd_);
}

bool LogFile::open() {
  int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return false;
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
  return true;
}

void LogFile::reopen() {
  flush();
  open();  // where that fails the old file goes on
}

bool LogFile::write_now(Str bytes, int* err) {
  ssize_t n = ::write(fd_, bytes.data(), bytes.size());
  *err = n < 0 ? errno : 0;
  return n == static_cast<ssize_t>(bytes.size());
}

void LogFile::flush() {
  if (timer_.set()) net::current_loop()->clear_timer(&timer_);
  if (held_.empty()) return;
  int err;
  write_now(held_, &err);
  held_.clear();
}

void LogFile::write(Request* r, Str line, int64_t buffer, int64_t flush_ms) {
  const auto room = static_cast<size_t>(buffer);
  if (held_.size() + line.size() > room) flush();
  if (line.size() <= room) {
    if (held_.empty() && flush_ms > 0) {
      timer_.fn = [](void* file) { static_cast<LogFile*>(file)->flush(); };
      timer_.data = this;
      net::current_loop()->set_timer(&timer_, static_cast<uint64_t>(flush_ms));
    }
    held_ += line;
    return;
  }
  int err;
  if (write_now(line, &err) || now().wall_sec() - complained_ < 60) return;
  complained_ = now().wall_sec();
  if (err)
    MOONPHASE_LOG(r, kLogAlert, err, "write() to \"%s\" failed", path.c_str());
  else
    MOONPHASE_LOG(r, kLogAlert, 0, "write() to \"%s\" was incomplete", path.c_str());
}

// --- lines ---

namespace {

bool plain(unsigned char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

char* escape_default(char* p, Str s) {
  for (char ch : s) {
    auto c = static_cast<unsigned char>(ch);
    if (plain(c)) {
      *p++ = ch;
    } else {
      *p++ = '\\';
      *p++ = 'x';
      *p++ = "0123456789ABCDEF"[c >> 4];
      *p++ = "0123456789ABCDEF"[c & 15];
    }
  }
  return p;
}

char* escape_json(char* p, Str s) {
  for (char ch : s) {
    auto c = static_cast<unsigned char>(ch);
    if (c > 0x1f && c != '"' && c != '\\') {
      *p++ = ch;
      continue;
    }
    *p++ = '\\';
    switch (c) {
      case '\n':
        *p++ = 'n';
        break;
      case '\r':
        *p++ = 'r';
        break;
      case '\t':
        *p++ = 't';
        break;
      case '\b':
        *p++ = 'b';
        break;
      case '\f':
        *p++ = 'f';
        break;
      case '"':
        *p++ = '"';
        break;
      case '\\':
        *p++ = '\\';
        break;
      default:
        *p++ = 'u';
        *p++ = '0';
        *p++ = '0';
        *p++ = "0123456789ABCDEF"[c >> 4];
        *p++ = "0123456789ABCDEF"[c & 15];
    }
  }
  return p;
}

// The value as it stands in the line.
Str log_value(Request* r, const LogFormat& format, int index) {
  const VarValue* v = get_flushed(r, index);
  bool absent = !v || v->not_found;
  if (format.escape == LogFormat::kDefault) {
    if (absent) return "-";
    bool clean = true;
    for (char c : v->data) clean &= plain(static_cast<unsigned char>(c));
    if (clean) return v->data;
    char* start = r->pool->bytes(v->data.size() * 4);
    return {start, static_cast<size_t>(escape_default(start, v->data) - start)};
  }
  if (absent) return "";
  if (format.escape == LogFormat::kNone) return v->data;
  char* start = r->pool->bytes(v->data.size() * 6);
  return {start, static_cast<size_t>(escape_json(start, v->data) - start)};
}

Str make_line(Request* r, const LogFormat& format, Str end) {
  const Complex& value = format.value;
  if (value.literal()) return r->pool->join({value.text, end});
  const size_t n = value.parts.size();
  Str* texts = r->pool->array<Str>(n);
  size_t size = end.size();
  for (size_t i = 0; i < n; ++i) {
    const Complex::Part& part = value.parts[i];
    texts[i] = part.kind == Complex::Part::kText  ? Str(part.text)
               : part.kind == Complex::Part::kVar ? log_value(r, format, part.index)
                                                  : capture(r, part.index);
    size += texts[i].size();
  }
  char* start = r->pool->bytes(size);
  char* p = start;
  for (size_t i = 0; i < n; ++i) p = std::copy(texts[i].begin(), texts[i].end(), p);
  std::copy(end.begin(), end.end(), p);
  return {start, size};
}

// The path has variables: the directory of the site must exist, so that a client cannot choose
// where files appear.
void write_to_variable_path(Request* r, const AccessLog& log, Str line) {
  Str path = eval(r, log.path);
  if (!path.starts_with('/')) path = r->pool->join({plan(r).prefix, path});
  const char* name = r->pool->c_str(path);
  int fd = ::open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    MOONPHASE_LOG(r, kLogCrit, errno, "open() \"%s\" failed", name);
    return;
  }
  ssize_t n = ::write(fd, line.data(), line.size());
  if (n < 0) MOONPHASE_LOG(r, kLogAlert, errno, "write() to \"%s\" failed", name);
  ::close(fd);
}

}  // namespace

Str format_line(Request* r, const LogFormat& format) { return make_line(r, format, ""); }

void write_access_log(Request* r) {
  for (const AccessLog& log : loc(r)->access_log) {
    if (log.has_condition && !is_true(r, log.condition)) continue;
    if (!log.format) continue;
    if (log.syslog) {
      if (!log.syslog->send(log.syslog->severity(), make_line(r, *log.format, "")))
        MOONPHASE_LOG(r, kLogWarn, 0, "send() to syslog failed");
      continue;
    }
    Str line = make_line(r, *log.format, "\n");
    if (log.file)
      log.file->write(r, line, log.buffer, log.flush);
    else
      write_to_variable_path(r, log, line);
  }
}

void log_request(Request* r) {
  if (generation(r)->plan->lua.log_used) lua_log_handler(r);
  write_access_log(r);
}

}  // namespace moonphase::engine
