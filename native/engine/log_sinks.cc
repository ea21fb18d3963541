#include "engine/log_sinks.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace moonphase::engine {

namespace {

void write_all(int fd, Str line) {
  [[maybe_unused]] ssize_t n = ::write(fd, line.data(), line.size());  // nobody could be told
}

class FileSink final : public LogSink {
 public:
  explicit FileSink(Str path) : path_(path) {}
  ~FileSink() override {
    if (fd_ >= 0) ::close(fd_);
  }
  bool open() {
    int fd = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return false;
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
    return true;
  }
  void write(int, Str line) override { write_all(fd_, line); }
  void reopen() override { open(); }  // where that fails the old file goes on

 private:
  std::string path_;
  int fd_ = -1;
};

class StderrSink final : public LogSink {
 public:
  void write(int, Str line) override { write_all(STDERR_FILENO, line); }
};

// error_log memory:SIZE: a ring that a debugger reads.
class MemorySink final : public LogSink {
 public:
  explicit MemorySink(size_t size) : ring_(size, 0) {}
  void write(int, Str line) override {
    for (char c : line) {
      ring_[at_] = c;
      at_ = (at_ + 1) % ring_.size();
    }
  }

 private:
  std::string ring_;
  size_t at_ = 0;
};

class SyslogSink final : public LogSink {
 public:
  explicit SyslogSink(Syslog* server) : server_(server) {}
  void write(int level, Str line) override {
    server_->send(level - 1, line.substr(0, line.size() - 1));
  }

 private:
  Syslog* server_;
};

}  // namespace

std::unique_ptr<LogSink> syslog_sink(Syslog* server) {
  return std::make_unique<SyslogSink>(server);
}

std::unique_ptr<LogSink> open_sink(Str kind, Str path, std::string* error) {
  if (kind == "stderr") return std::make_unique<StderrSink>();
  if (kind == "memory") return std::make_unique<MemorySink>(64 * 1024);
  auto sink = std::make_unique<FileSink>(path);
  if (!sink->open()) {
    int err = errno;
    *error = "open() \"" + std::string(path) + "\" failed (" + std::to_string(err) + ": " +
             std::strerror(err) + ")";
    return nullptr;
  }
  return sink;
}

}  // namespace moonphase::engine
