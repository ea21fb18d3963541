// A listening socket: made here or inherited as a descriptor; accepts while it is resumed.
#pragma once

#include <sys/socket.h>

#include <string>

#include "net/loop.h"

namespace moonphase::net {

struct ListenOptions {
  int backlog = 511;
  bool reuseport = false;
  bool ipv6only = true;
  bool deferred = false;
  int rcvbuf = -1, sndbuf = -1, fastopen = -1;
  int keepalive = -1;  // so_keepalive on 1, off 0
};

class Listener {
 public:
  // `accepted` gets a non-blocking descriptor and the peer's address.
  using Accepted = void (*)(void* data, int fd, const sockaddr* peer, socklen_t len);
  // `fd` ≥ 0: inherited, already listening. Returns null and an errno in *err on failure (bind,
  // listen).
  static Listener* open(Loop* loop, const sockaddr* addr, socklen_t len,
                        const ListenOptions& options, int fd, Accepted accepted, void* data,
                        int* err);
  void pause();
  void resume();
  int fd() const { return fd_; }
  void close();

 private:
  Listener() = default;
  static void on_poll(uv_poll_t* h, int status, int events);
  uv_poll_t poll_{};
  uv_timer_t retry_{};  // EMFILE: accept again later
  Loop* loop_ = nullptr;
  Accepted accepted_ = nullptr;
  void* data_ = nullptr;
  int fd_ = -1;
  bool unix_ = false;
  bool closed_ = false;
};

}  // namespace moonphase::net
