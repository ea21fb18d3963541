#include "bind/sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "bind/napi_util.h"

namespace moonphase::bind {

namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t len = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

bool read_address(const std::string& family, const std::string& host, int port, Address* out) {
  if (family == "unix") {
    auto* un = reinterpret_cast<sockaddr_un*>(&out->storage);
    if (host.size() >= sizeof un->sun_path) return false;
    un->sun_family = AF_UNIX;
    std::memcpy(un->sun_path, host.c_str(), host.size() + 1);
    out->len = static_cast<socklen_t>(sizeof *un);
    return true;
  }
  if (family == "inet6") {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&out->storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(static_cast<uint16_t>(port));
    out->len = sizeof *in6;
    return inet_pton(AF_INET6, host.c_str(), &in6->sin6_addr) == 1;
  }
  auto* in = reinterpret_cast<sockaddr_in*>(&out->storage);
  in->sin_family = AF_INET;
  in->sin_port = htons(static_cast<uint16_t>(port));
  out->len = sizeof *in;
  return inet_pton(AF_INET, host.c_str(), &in->sin_addr) == 1;
}

void set_option(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof value);
}

// The call that failed is in *what.
int open_socket(napi_env env, napi_value listen_plan, const char** what) {
  std::string family = bytes_of(env, js_get(env, listen_plan, "family"));
  std::string host = bytes_of(env, js_get(env, listen_plan, "host"));
  auto number = [&](const char* name, double fallback) {
    return static_cast<int>(number_option(env, listen_plan, name, fallback));
  };
  Address address;
  *what = "bind()";
  if (!read_address(family, host, number("port", 0), &address)) {
    errno = EINVAL;
    return -1;
  }
  bool is_unix = family == "unix";
  *what = "socket()";
  int fd = ::socket(address.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  if (!is_unix) set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (bool_option(env, listen_plan, "reuseport", false))
    set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (family == "inet6")
    set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, bool_option(env, listen_plan, "ipv6only", true));
  if (number("rcvbuf", -1) > 0) set_option(fd, SOL_SOCKET, SO_RCVBUF, number("rcvbuf", -1));
  if (number("sndbuf", -1) > 0) set_option(fd, SOL_SOCKET, SO_SNDBUF, number("sndbuf", -1));
  napi_value keepalive = js_get(env, listen_plan, "so_keepalive");
  if (js_type(env, keepalive) == napi_boolean) {
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, bool_option(env, listen_plan, "so_keepalive", false));
  }
  *what = "bind()";
  if (::bind(fd, address.get(), address.len) == 0) {
    if (is_unix) chmod(host.c_str(), 0666);
    if (!is_unix && number("fastopen", -1) > 0)
      set_option(fd, IPPROTO_TCP, TCP_FASTOPEN, number("fastopen", -1));
    *what = "listen()";
    if (::listen(fd, number("backlog", 511)) == 0) {
      if (!is_unix && bool_option(env, listen_plan, "deferred", false))
        set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
      return fd;
    }
  }
  int err = errno;
  close(fd);
  errno = err;
  return -1;
}

napi_value failure(napi_env env, const char* what, int err) {
  napi_value result;
  napi_create_object(env, &result);
  js_set(env, result, "call", js_string(env, what));
  js_set(env, result, "errno", js_number(env, err));
  js_set(env, result, "text", js_string(env, strerror(err)));
  return result;
}

// openSocket(listenPlan): a listening descriptor, or {call, errno, text}.
napi_value js_open(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  const char* what = "";
  int fd = open_socket(env, args[0], &what);
  return fd >= 0 ? js_number(env, fd) : failure(env, what, errno);
}

napi_value js_close(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  int fd = -1;
  if (napi_get_value_int32(env, args[0], &fd) == napi_ok && fd > 2) close(fd);
  return nullptr;
}

// socketName(fd): "0.0.0.0:80", "[::]:80", "unix:/path", as ListenPlan.name has it; undefined: not
// a socket that listens.
napi_value js_name(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  int fd = -1, listens = 0;
  napi_get_value_int32(env, args[0], &fd);
  socklen_t len = sizeof listens;
  Address a;
  a.len = sizeof a.storage;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 || !listens ||
      getsockname(fd, a.get(), &a.len) != 0) {
    return js_undefined(env);
  }
  char text[INET6_ADDRSTRLEN];
  if (a.get()->sa_family == AF_UNIX) {
    auto* un = reinterpret_cast<sockaddr_un*>(&a.storage);
    return js_latin1(env, std::string("unix:") + un->sun_path);
  }
  if (a.get()->sa_family == AF_INET6) {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&a.storage);
    inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
    return js_latin1(env, std::string("[") + text + "]:" + std::to_string(ntohs(in6->sin6_port)));
  }
  auto* in = reinterpret_cast<sockaddr_in*>(&a.storage);
  inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
  return js_latin1(env, std::string(text) + ":" + std::to_string(ntohs(in->sin_port)));
}

// duplicate(fd): another descriptor of the same socket, not inherited by programs that we start.
napi_value js_duplicate(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  int fd = -1;
  napi_get_value_int32(env, args[0], &fd);
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  return copy >= 0 ? js_number(env, copy) : failure(env, "fcntl()", errno);
}

}  // namespace

void define_sockets(napi_env env, napi_value exports) {
  add_function(env, exports, "openSocket", js_open);
  add_function(env, exports, "closeSocket", js_close);
  add_function(env, exports, "socketName", js_name);
  add_function(env, exports, "duplicateSocket", js_duplicate);
}

}  // namespace moonphase::bind
