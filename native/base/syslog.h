// A syslog server, to which error_log and access_log send datagrams in the form of RFC 3164, as
// nginx does:
//   <PRI>Jan  1 00:00:00 HOST TAG: message
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <mutex>
#include <string>

#include "base/log.h"

namespace moonphase {

struct SyslogOptions {
  sockaddr_storage addr{};
  socklen_t len = 0;
  std::string name;  // of the server, for messages: 127.0.0.1:514, unix:/dev/log
  int facility = 23, severity = 6;
  std::string tag;
  std::string hostname;  // of this host; empty: the header has none
};

// Opens its socket with the first message, and a new one after an error. Any thread may send.
class Syslog {
 public:
  // `complaints`: where a failure is logged; null: nowhere. It may lead back here.
  Syslog(SyslogOptions options, const Log* complaints)
      : options_(std::move(options)), complaints_(complaints) {}
  ~Syslog();
  Syslog(const Syslog&) = delete;
  // Sends a message without a line feed. False: it is lost, and why has been logged; a full socket
  // buffer loses it silently.
  bool send(int severity, Str message);
  int severity() const { return options_.severity; }  // of access_log

 private:
  struct Failure {
    int level;
    int err;
    const char* what;
  };
  int open(Failure* failure);
  bool deliver(Str datagram, Failure* failure);
  const SyslogOptions options_;
  const Log* complaints_;
  std::mutex mutex_;
  int fd_ = -1;
  std::atomic<bool> complaining_ = false;
};

}  // namespace moonphase
