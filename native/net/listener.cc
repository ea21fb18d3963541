#include "net/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/handle.h"

namespace moonphase::net {

namespace {

constexpr int kMostPerEvent = 64;  // accepted at once before other sockets get their turn
constexpr uint64_t kRetryMs = 500;

bool set(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

int listen_on(const sockaddr* addr, socklen_t len, const ListenOptions& o) {
  int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  bool ok = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (addr->sa_family == AF_INET6) ok = ok && set(fd, IPPROTO_IPV6, IPV6_V6ONLY, o.ipv6only);
  if (o.reuseport) ok = ok && set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (o.rcvbuf >= 0) set(fd, SOL_SOCKET, SO_RCVBUF, o.rcvbuf);
  if (o.sndbuf >= 0) set(fd, SOL_SOCKET, SO_SNDBUF, o.sndbuf);
  if (o.keepalive >= 0) set(fd, SOL_SOCKET, SO_KEEPALIVE, o.keepalive);
  if (ok && bind(fd, addr, len) == 0) {
    // As nginx: every user may connect to a unix socket.
    if (addr->sa_family == AF_UNIX) {
      auto* un = reinterpret_cast<const sockaddr_un*>(addr);
      if (un->sun_path[0]) chmod(un->sun_path, 0666);
    }
    if (listen(fd, o.backlog) == 0) return fd;
  }
  int err = errno;
  close(fd);
  errno = err;
  return -1;
}

}  // namespace

Listener* Listener::open(Loop* loop, const sockaddr* addr, socklen_t len,
                         const ListenOptions& options, int fd, Accepted accepted, void* data,
                         int* err) {
  bool inherited = fd >= 0;
  if (!inherited) fd = listen_on(addr, len, options);
  if (fd < 0) {
    *err = errno;
    return nullptr;
  }
  if (addr->sa_family != AF_UNIX) {
    if (options.deferred) set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
    if (options.fastopen >= 0) set(fd, IPPROTO_TCP, TCP_FASTOPEN, options.fastopen);
  }
  auto* l = new Listener;
  l->loop_ = loop;
  l->accepted_ = accepted;
  l->data_ = data;
  l->fd_ = fd;
  l->unix_ = addr->sa_family == AF_UNIX;
  int rc = uv_poll_init(loop->uv(), &l->poll_, fd);
  if (rc) {
    *err = -rc;
    if (!inherited) ::close(fd);
    delete l;
    return nullptr;
  }
  l->poll_.data = l;
  uv_timer_init(loop->uv(), &l->retry_);
  l->retry_.data = l;
  l->resume();
  return l;
}

void Listener::resume() {
  if (!closed_) uv_poll_start(&poll_, UV_READABLE, on_poll);
}

void Listener::pause() {
  if (closed_) return;
  uv_timer_stop(&retry_);
  uv_poll_stop(&poll_);
}

void Listener::on_poll(uv_poll_t* h, int status, int) {
  auto* l = static_cast<Listener*>(h->data);
  if (status < 0) return;
  Loop::Scope scope(*l->loop_);
  for (int i = 0; i < kMostPerEvent && !l->closed_; ++i) {
    sockaddr_storage peer;
    socklen_t len = sizeof peer;
    int fd =
        accept4(l->fd_, reinterpret_cast<sockaddr*>(&peer), &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      if (l->unix_ && len < sizeof(sa_family_t)) {
        peer.ss_family = AF_UNIX;
        len = sizeof(sa_family_t);
      }
      l->accepted_(l->data_, fd, reinterpret_cast<sockaddr*>(&peer), len);
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      uv_poll_stop(&l->poll_);
      uv_timer_start(
          &l->retry_, [](uv_timer_t* t) { static_cast<Listener*>(t->data)->resume(); }, kRetryMs,
          0);
    }
    return;
  }
}

void Listener::close() {
  if (closed_) return;
  closed_ = true;
  // Two handles: the object goes with the second. The poll handle first, and the descriptor after
  // it: uv_close takes the number out of epoll, where it may be another socket's later.
  close_handle(
      reinterpret_cast<uv_handle_t*>(&poll_),
      [](void* p) {
        auto* l = static_cast<Listener*>(p);
        close_handle(
            reinterpret_cast<uv_handle_t*>(&l->retry_),
            [](void* q) { delete static_cast<Listener*>(q); }, l);
      },
      this);
  uv_timer_stop(&retry_);
  ::close(fd_);
  fd_ = -1;
}

}  // namespace moonphase::net
