#include "net/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "net/handle.h"
#include "net/tls.h"

namespace moonphase::net {

// The descriptor's life: libuv watches what is active, the owner wants what is wanted, and active
// is only cut down when an unwanted event fires. A request that is answered at once costs no change
// of the poll set.
//
// Whoever reads less than he asked for, while libuv watches, has read all there was: whatever comes
// later is told of, even if it comes at once, for epoll is level-triggered. So no call has to find
// out that there is nothing. But for the end: it may lie right behind the bytes, so it is watched
// for by itself (UV_DISCONNECT, EPOLLRDHUP), and once it has come nothing counts as drained.

Stream* Stream::open(Loop* loop, int fd, Events events, void* data) {
  auto* s = new Stream;
  s->loop_ = loop;
  s->events_ = events;
  s->data_ = data;
  s->fd_ = fd;
  int err = uv_poll_init(loop->uv(), &s->poll_, fd);
  if (err) {
    errno = -err;
    ::close(fd);
    delete s;
    return nullptr;
  }
  s->poll_.data = s;
  return s;
}

Stream* Stream::connect(Loop* loop, const sockaddr* addr, socklen_t len, const sockaddr* local,
                        socklen_t local_len, Events events, void* data, bool* bound) {
  int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return nullptr;
  if (local) {
    int on = 1;
#ifdef IP_BIND_ADDRESS_NO_PORT
    if (local->sa_family != AF_UNIX)
      setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
#endif
    if (bind(fd, local, local_len) != 0) {
      int err = errno;
      ::close(fd);
      if (bound) *bound = false;
      errno = err;
      return nullptr;
    }
  }
  int rc;
  do rc = ::connect(fd, addr, len);
  while (rc != 0 && errno == EINTR);
  if (rc != 0 && errno != EINPROGRESS) {
    int err = errno;
    ::close(fd);
    errno = err;
    return nullptr;
  }
  return open(loop, fd, events, data);
}

int Stream::connect_error() {
  int err = 0;
  socklen_t n = sizeof err;
  if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, &err, &n) != 0) err = errno;
  return err;
}

namespace {

// libc's recv and send are cancellation points: each costs two atomic operations more, wherever
// there are threads.
ssize_t receive(int fd, void* buf, size_t n, int flags) {
  return ::syscall(SYS_recvfrom, fd, buf, n, flags, nullptr, nullptr);
}
ssize_t transmit(int fd, const iovec& v) {
  return ::syscall(SYS_sendto, fd, v.iov_base, v.iov_len, MSG_NOSIGNAL, nullptr, 0);
}

ssize_t result(ssize_t n, int* error) {
  if (n >= 0) return n;
  if (errno == EAGAIN || errno == EWOULDBLOCK) return kIoAgain;
  *error = errno;
  return kIoError;
}
}  // namespace

ssize_t Stream::recv(void* buf, size_t n) {
  if (tls) [[unlikely]]
    return tls->recv(buf, n, &error_);
  if (drained_) return kIoAgain;
  ssize_t rc;
  do rc = receive(fd_, buf, n, 0);
  while (rc < 0 && errno == EINTR);
  return came(rc, n);
}

ssize_t Stream::came(ssize_t rc, size_t n) {
  const ssize_t got = result(rc, &error_);
  if (got == kIoAgain || (got > 0 && static_cast<size_t>(got) < n && !datagrams_))
    drained_ = !ending_ && (active_ & UV_READABLE);
  return got;
}

ssize_t Stream::peek(void* buf, size_t n) {
  if (tls) [[unlikely]]
    return tls->peek(buf, n, &error_);
  if (drained_) return kIoAgain;
  ssize_t rc;
  do rc = receive(fd_, buf, n, MSG_PEEK);
  while (rc < 0 && errno == EINTR);
  // What was only looked at is still there.
  return came(rc, rc > 0 ? 0 : n);
}

ssize_t Stream::send(const iovec* iov, int count) {
  if (tls) [[unlikely]]
    return tls->send(iov, count, &error_);
  ssize_t rc;
  if (count == 1) {
    do rc = transmit(fd_, *iov);
    while (rc < 0 && errno == EINTR);
  } else {
    msghdr m{};
    m.msg_iov = const_cast<iovec*>(iov);
    m.msg_iovlen = static_cast<size_t>(count);
    do rc = ::sendmsg(fd_, &m, MSG_NOSIGNAL);
    while (rc < 0 && errno == EINTR);
  }
  return result(rc, &error_);
}

ssize_t Stream::sendfile(int fd, off_t offset, size_t n) {
  if (tls) [[unlikely]]
    return tls->sendfile(fd, offset, n, &error_);
  ssize_t rc;
  do rc = ::sendfile(fd_, fd, &offset, n);
  while (rc < 0 && errno == EINTR);
  return result(rc, &error_);
}

// What still comes in after it is nobody's: it is read as it is.
void Stream::shutdown_write() {
  if (tls) tls->end(false);
  ::shutdown(fd_, SHUT_WR);
}

void Stream::set_linger0() {
  if (tls) tls->end(true);
  linger l{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

void Stream::want_read(bool on) {
  wanted_ = on ? wanted_ | UV_READABLE : wanted_ & ~UV_READABLE;
  if (on && !(active_ & UV_READABLE)) update();
  if (tls && on && tls->unread()) [[unlikely]]
    post_unread();
}

void Stream::want_write(bool on) {
  wanted_ = on ? wanted_ | UV_WRITABLE : wanted_ & ~UV_WRITABLE;
  if (on && !(active_ & UV_WRITABLE)) update();
}

void Stream::post_unread() {
  if (unread_.queued || closed_) return;
  unread_.data = this;
  unread_.fn = [](void* p) {
    auto* s = static_cast<Stream*>(p);
    if (s->closed_ || !s->tls || !s->tls->unread() || !(s->wanted_ & UV_READABLE)) return;
    const uint64_t reads = s->tls->reads;
    s->events_.readable(s->data_);
    // Whoever wants to read and does not is asked again when more comes.
    if (s->tls && s->tls->unread() && s->tls->reads != reads && (s->wanted_ & UV_READABLE))
      s->post_unread();
  };
  loop_->post(&unread_);
}

void Stream::update() {
  if (closed_) return;
  active_ = wanted_;
  if (!(active_ & UV_READABLE)) drained_ = false;
  if (active_)
    uv_poll_start(&poll_, active_ & UV_READABLE ? active_ | UV_DISCONNECT : active_, on_poll);
  else
    uv_poll_stop(&poll_);
}

void Stream::on_poll(uv_poll_t* h, int status, int events) {
  auto* s = static_cast<Stream*>(h->data);
  Loop::Scope scope(*s->loop_);
  if (status < 0 || (events & (UV_READABLE | UV_DISCONNECT))) s->drained_ = false;
  if (events & UV_DISCONNECT) {
    s->ending_ = true;
    events = (events & ~UV_DISCONNECT) | (s->active_ & UV_READABLE);
  }
  if (status < 0) {
    // libuv has stopped watching. What is wrong is told by the call that meets it.
    s->active_ = 0;
    events = s->wanted_;
  } else if (events & ~s->wanted_) {
    s->update();
  }
  if (s->tls) [[unlikely]] {
    const int came = events;
    if (std::exchange(s->tls->read_waits_for_write,
                      s->tls->read_waits_for_write && !(came & UV_WRITABLE)) &&
        (came & UV_WRITABLE))
      events |= UV_READABLE;
    if (std::exchange(s->tls->write_waits_for_read,
                      s->tls->write_waits_for_read && !(came & UV_READABLE)) &&
        (came & UV_READABLE))
      events |= UV_WRITABLE;
  }
  events &= s->wanted_;
  if (events & UV_READABLE) {
    s->events_.readable(s->data_);
    if (s->tls && s->tls->unread() && (s->wanted_ & UV_READABLE)) [[unlikely]]
      s->post_unread();
  }
  if ((events & UV_WRITABLE) && !s->closed_ && (s->wanted_ & UV_WRITABLE))
    s->events_.writable(s->data_);
  if (status < 0 && !s->closed_ && s->wanted_ && !s->active_) s->update();
}

void Stream::close() {
  if (closed_) return;
  closed_ = true;
  loop_->cancel(&unread_);
  if (tls) tls->end(false);
  int fd = detach();
  if (fd >= 0) ::close(fd);
  // The events may be running: the object goes after libuv has let go of the handle.
  close_handle(
      reinterpret_cast<uv_handle_t*>(&poll_), [](void* p) { delete static_cast<Stream*>(p); },
      this);
}

int Stream::detach() {
  int fd = fd_;
  if (fd < 0) return -1;
  uv_poll_stop(&poll_);
  active_ = wanted_ = 0;
  fd_ = -1;
  return fd;
}

void Stream::ref(bool on) {
  auto* h = reinterpret_cast<uv_handle_t*>(&poll_);
  if (on)
    uv_ref(h);
  else
    uv_unref(h);
}

}  // namespace moonphase::net
