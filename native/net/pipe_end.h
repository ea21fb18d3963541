// Our end of a pipe: non-blocking reads or writes, and one event when it is ready.
#pragma once

#include <sys/types.h>

#include "net/loop.h"

namespace moonphase::net {

class PipeEnd {
 public:
  // Takes the descriptor (already non-blocking). `ready` is called inside a Loop::Scope. The owner
  // must `close()`; the object frees itself after that.
  static PipeEnd* open(Loop* loop, int fd, void (*ready)(void* data), void* data);
  // > 0 bytes, 0 end of stream, kIoAgain, kIoError (net/stream.h).
  ssize_t read(void* buf, size_t n);
  ssize_t write(const void* buf, size_t n);
  int error() const { return error_; }  // errno of the last kIoError
  // UV_READABLE or UV_WRITABLE; 0: no event. False: libuv cannot watch it.
  bool watch(int events);
  void close();

 private:
  PipeEnd() = default;
  ~PipeEnd() = default;
  static void on_poll(uv_poll_t* h, int status, int events);
  uv_poll_t poll_{};
  Loop* loop_ = nullptr;
  void (*ready_)(void*) = nullptr;
  void* data_ = nullptr;
  int fd_ = -1;
  int error_ = 0;
  bool polled_ = false;  // poll_ is a handle: not before the first event is wanted
};

}  // namespace moonphase::net
