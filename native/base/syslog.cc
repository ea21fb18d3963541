#include "base/syslog.h"

#include <unistd.h>

#include <cerrno>

#include "base/clock.h"
#include "base/error_level.h"

namespace moonphase {

namespace {

struct Context final : LogContext {
  explicit Context(Str server) : name(server) {}
  char* append(char* p, char* end) const override {
    for (Str part : {Str(" while logging to syslog, server: "), name})
      p = put_bytes(p, part.substr(0, static_cast<size_t>(p < end ? end - p : 0)));
    return p;
  }
  Str name;
};

}  // namespace

Syslog::~Syslog() {
  if (fd_ >= 0) ::close(fd_);
}

int Syslog::open(Failure* failure) {
  int fd = ::socket(options_.addr.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    *failure = {kLogAlert, errno, "socket() failed"};
    return -1;
  }
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&options_.addr), options_.len) == 0)
    return fd;
  *failure = {kLogAlert, errno, "connect() failed"};
  ::close(fd);
  return -1;
}

bool Syslog::deliver(Str datagram, Failure* failure) {
  std::lock_guard lock(mutex_);
  if (fd_ < 0) fd_ = open(failure);
  if (fd_ < 0) return false;
  ssize_t n;
  do {
    n = ::send(fd_, datagram.data(), datagram.size(), MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) return true;
  if (errno == EAGAIN) return false;
  *failure = {error_level(errno, kLogErr, kLogAlert), errno, "send() failed"};
  ::close(fd_);
  fd_ = -1;
  return false;
}

bool Syslog::send(int severity, Str message) {
  if (complaining_) return false;  // a message about this very server
  std::string datagram = "<" + std::to_string(options_.facility * 8 + severity) + ">";
  datagram.append(syslog_date()).append(" ");
  if (!options_.hostname.empty()) datagram.append(options_.hostname).append(" ");
  datagram.append(options_.tag).append(": ").append(message);
  Failure failure{};
  if (deliver(datagram, &failure)) return true;
  if (failure.what && complaints_ && !complaining_.exchange(true)) {
    Context context(options_.name);
    log_write(*complaints_, &context, failure.level, failure.err, "%s", failure.what);
    complaining_ = false;
  }
  return false;
}

}  // namespace moonphase
