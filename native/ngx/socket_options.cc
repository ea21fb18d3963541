// FFI side of cosockets that lua-resty-core declares: options and descriptors. TLS comes with its
// issue.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "engine/sockets/stream_socket.h"

using moonphase::engine::StreamSocket;

namespace {

struct Option {
  int level, name;
};
// Numbers of lua-resty-core's option table.
constexpr Option kOptions[] = {
    {0, 0},
    {SOL_SOCKET, SO_KEEPALIVE},
    {SOL_SOCKET, SO_REUSEADDR},
    {IPPROTO_TCP, TCP_NODELAY},
    {SOL_SOCKET, SO_SNDBUF},
    {SOL_SOCKET, SO_RCVBUF},
    {IPPROTO_TCP, TCP_KEEPINTVL},
    {IPPROTO_TCP, TCP_KEEPCNT},
};

const Option* find_option(int number) {
  constexpr int kCount = sizeof kOptions / sizeof *kOptions;
  return number > 0 && number < kCount ? &kOptions[number] : nullptr;
}

// lua-resty-core passes what the object holds at [1].
bool connected(const StreamSocket* s) { return s && StreamSocket::genuine(s) && s->connected(); }

int report(char* err, size_t* errlen, const char* text) {
  const size_t n = strnlen(text, *errlen);
  std::memcpy(err, text, n);
  *errlen = n;
  return moonphase::kError;
}

int unsupported(char* err, size_t* errlen, const char* format, int option) {
  char text[64];
  std::snprintf(text, sizeof text, format, option);
  return report(err, errlen, text);
}

int failed(char* err, size_t* errlen, int code) {
  char text[128];
  return report(err, errlen, strerror_r(code, text, sizeof text));
}

}  // namespace

// What Lua finds through ffi.C.
#pragma GCC visibility push(default)
extern "C" {

int ngx_http_lua_ffi_socket_tcp_getoption(StreamSocket* s, int option, int* val, unsigned char* err,
                                          size_t* errlen) {
  char* text = reinterpret_cast<char*>(err);
  if (!connected(s)) return report(text, errlen, "closed");
  const Option* o = find_option(option);
  if (!o) return unsupported(text, errlen, "unsupported option %d", option);
  socklen_t len = sizeof *val;
  if (getsockopt(s->fd(), o->level, o->name, val, &len) != 0) return failed(text, errlen, errno);
  return moonphase::kOk;
}

int ngx_http_lua_ffi_socket_tcp_setoption(StreamSocket* s, int option, int val, unsigned char* err,
                                          size_t* errlen) {
  char* text = reinterpret_cast<char*>(err);
  if (!connected(s)) return report(text, errlen, "closed");
  const Option* o = find_option(option);
  if (!o) return unsupported(text, errlen, "unsupported option: %d", option);
  if (setsockopt(s->fd(), o->level, o->name, &val, sizeof val) != 0)
    return failed(text, errlen, errno);
  return moonphase::kOk;
}

int ngx_http_lua_ffi_socket_tcp_getfd(void*, StreamSocket* s, const char** errmsg) {
  if (!connected(s)) {
    *errmsg = "closed";
    return moonphase::kError;
  }
  if (s->fd() < 0) *errmsg = "faked connection";
  return s->fd();
}

}  // extern "C"
#pragma GCC visibility pop
