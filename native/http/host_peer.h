// Who is at the other end of a connection that somebody else's server has.
#pragma once

#include <sys/socket.h>

#include <cstdint>

#include "base/types.h"

namespace moonphase::http {

struct HostedPeer {
  HostedPeer() = default;
  HostedPeer(const HostedPeer&) = delete;
  HostedPeer& operator=(const HostedPeer&) = delete;

  uint64_t connection = 0;  // the host's number for it; 0: none yet
  sockaddr_storage remote{}, local{};
  socklen_t remote_len = 0, local_len = 0;
  Str host;  // the remote address as text
  bool ssl = false;

  // "127.0.0.1 1234"; an address that is none is a unix socket's.
  void set_remote(Str text);
  void set_local(Str text);

 private:
  char host_[64] = {};
};

}  // namespace moonphase::http
