#include "net/pipe_end.h"

#include <unistd.h>

#include <cerrno>

#include "net/handle.h"
#include "net/stream.h"

namespace moonphase::net {

PipeEnd* PipeEnd::open(Loop* loop, int fd, void (*ready)(void*), void* data) {
  auto* p = new PipeEnd;
  p->loop_ = loop;
  p->fd_ = fd;
  p->ready_ = ready;
  p->data_ = data;
  return p;
}

ssize_t PipeEnd::read(void* buf, size_t n) {
  ssize_t rc;
  do rc = ::read(fd_, buf, n);
  while (rc < 0 && errno == EINTR);
  if (rc >= 0) return rc;
  if (errno == EAGAIN) return kIoAgain;
  error_ = errno;
  return kIoError;
}

ssize_t PipeEnd::write(const void* buf, size_t n) {
  ssize_t rc;
  do rc = ::write(fd_, buf, n);
  while (rc < 0 && errno == EINTR);
  if (rc >= 0) return rc;
  if (errno == EAGAIN) return kIoAgain;
  error_ = errno;
  return kIoError;
}

bool PipeEnd::watch(int events) {
  if (fd_ < 0) return false;
  if (!polled_) {
    if (!events) return true;
    if (uv_poll_init(loop_->uv(), &poll_, fd_) != 0) return false;
    poll_.data = this;
    uv_unref(reinterpret_cast<uv_handle_t*>(&poll_));
    polled_ = true;
  }
  if (!events) return uv_poll_stop(&poll_) == 0;
  return uv_poll_start(&poll_, events, on_poll) == 0;
}

void PipeEnd::on_poll(uv_poll_t* h, int, int) {
  auto* p = static_cast<PipeEnd*>(h->data);
  Loop::Scope scope(*p->loop_);
  p->ready_(p->data_);
}

void PipeEnd::close() {
  if (fd_ < 0) return;
  if (polled_) uv_poll_stop(&poll_);
  ::close(fd_);
  fd_ = -1;
  if (!polled_) {
    delete this;
    return;
  }
  close_handle(
      reinterpret_cast<uv_handle_t*>(&poll_), [](void* p) { delete static_cast<PipeEnd*>(p); },
      this);
}

}  // namespace moonphase::net
