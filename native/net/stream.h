// A connected (or connecting) stream socket: non-blocking calls and readiness events, plain or
// through TLS. Narrow on purpose: another backend (io_uring) must fit behind it.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <memory>

#include "net/loop.h"

namespace moonphase::net {

// What recv and send answer besides a byte count.
constexpr ssize_t kIoAgain = -2;  // not ready: wait for the event
constexpr ssize_t kIoError = -1;  // see Stream::error()

class TlsSession;  // net/tls.h

class Stream {
 public:
  // `readable`/`writable` are called inside a Loop::Scope. Owner must `close()`; the object frees
  // itself after the turn.
  struct Events {
    void (*readable)(void* data);
    void (*writable)(void* data);
  };
  // Takes the descriptor (already non-blocking).
  static Stream* open(Loop* loop, int fd, Events events, void* data);
  // Starts a connection; `writable` fires when it is made or failed: then ask `connect_error()`.
  // Returns null and errno when it fails at once; `*bound` becomes false when the local address was
  // refused.
  static Stream* connect(Loop* loop, const sockaddr* addr, socklen_t len, const sockaddr* local,
                         socklen_t local_len, Events events, void* data, bool* bound = nullptr);
  int connect_error();

  // > 0 bytes, 0 end of stream, kIoAgain, kIoError. A short count means that the socket is drained;
  // until its next event these two answer kIoAgain without a look, as nginx's do.
  ssize_t recv(void* buf, size_t n);
  ssize_t peek(void* buf, size_t n);
  ssize_t send(const iovec* iov, int count);
  ssize_t sendfile(int fd, off_t offset, size_t n);
  void shutdown_write();
  int error() const { return error_; }  // errno of the last kIoError

  // Which events are wanted. Unwanted ones are switched off lazily, when they fire.
  void want_read(bool on);
  void want_write(bool on);

  void set_events(Events events, void* data) {
    events_ = events;
    data_ = data;
  }
  int fd() const { return fd_; }
  // A datagram is shorter than the buffer, and there may be others behind it.
  void carries_datagrams() { datagrams_ = true; }
  TlsSession* tls = nullptr;  // set by TlsSession::attach
  // What a protocol keeps with its connection: goes with it, after the turn.
  struct Attachment {
    virtual ~Attachment() = default;
  };
  std::unique_ptr<Attachment> attached;
  // RST instead of FIN (reset_timedout_connection).
  void set_linger0();
  // Ends everything; no event comes after it. Idempotent until the turn ends.
  void close();
  // Gives up the descriptor without closing it.
  int detach();
  bool closed() const { return closed_; }
  // Holds the process (default) or not.
  void ref(bool on);

 private:
  Stream() = default;
  ~Stream() = default;
  static void on_poll(uv_poll_t* h, int status, int events);
  void update();
  ssize_t came(ssize_t rc, size_t n);
  void post_unread();
  uv_poll_t poll_{};
  Loop* loop_ = nullptr;
  Events events_{};
  void* data_ = nullptr;
  int fd_ = -1;
  int error_ = 0;
  int active_ = 0;  // what libuv watches
  int wanted_ = 0;
  bool closed_ = false;
  bool drained_ = false;  // there was no more, and libuv has watched it since
  bool datagrams_ = false;
  bool ending_ = false;  // the peer sends no more: the end lies behind what is there
  Posted unread_{};      // TLS has bytes that the socket does not tell of
};

}  // namespace moonphase::net
