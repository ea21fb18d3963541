// nginx's levels for errors of sockets (ngx_connection_error, ngx_http_lua_socket_error).
#pragma once

#include <cerrno>

namespace moonphase {

// `peer`: what the other side, or the way to it, can cause; `other`: everything else.
inline int error_level(int err, int peer, int other) {
  switch (err) {
    case ECONNREFUSED:
    case ECONNRESET:
    case ETIMEDOUT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
    case EPIPE:
    case ENOTCONN:
      return peer;
    default:
      return other;
  }
}

}  // namespace moonphase
