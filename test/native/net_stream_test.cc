// When a stream looks and when it knows: libuv is played by poll(), which is level-triggered, too.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "http_check.h"
#include "net/stream.h"

using moonphase::net::kIoAgain;
using moonphase::net::Loop;
using moonphase::net::Stream;

namespace {
uv_poll_t* g_handle;
int g_fd, g_watched;
uv_poll_cb g_call;
}  // namespace

extern "C" {
int uv_poll_init(uv_loop_t*, uv_poll_t* h, int fd) {
  g_handle = h;
  g_fd = fd;
  g_watched = 0;
  return 0;
}
int uv_poll_start(uv_poll_t*, int events, uv_poll_cb call) {
  g_watched = events;
  g_call = call;
  return 0;
}
int uv_poll_stop(uv_poll_t*) {
  g_watched = 0;
  return 0;
}
void uv_close(uv_handle_t* h, uv_close_cb call) { call(h); }
uint64_t uv_now(const uv_loop_t*) { return 1; }
int uv_timer_init(uv_loop_t*, uv_timer_t*) { return 0; }
int uv_idle_init(uv_loop_t*, uv_idle_t*) { return 0; }
int uv_prepare_init(uv_loop_t*, uv_prepare_t*) { return 0; }
int uv_check_init(uv_loop_t*, uv_check_t*) { return 0; }
int uv_timer_stop(uv_timer_t*) { return 0; }
int uv_idle_stop(uv_idle_t*) { return 0; }
int uv_prepare_stop(uv_prepare_t*) { return 0; }
int uv_check_stop(uv_check_t*) { return 0; }
void uv_unref(uv_handle_t*) {}
}

namespace {

// One look at the socket, as libuv's. True: there was something.
bool turn() {
  if (!g_watched) return false;
  const bool read = g_watched & UV_READABLE, write = g_watched & UV_WRITABLE,
             end = g_watched & UV_DISCONNECT;
  pollfd p{g_fd,
           static_cast<short>((read ? POLLIN : 0) | (write ? POLLOUT : 0) | (end ? POLLRDHUP : 0)),
           0};
  if (::poll(&p, 1, 0) <= 0) return false;
  int events = 0;
  if (read && (p.revents & (POLLIN | POLLHUP))) events |= UV_READABLE;
  if (write && (p.revents & (POLLOUT | POLLHUP))) events |= UV_WRITABLE;
  if (end && (p.revents & (POLLRDHUP | POLLHUP))) events |= UV_DISCONNECT;
  g_call(g_handle, 0, events);
  return true;
}

struct Pair {
  explicit Pair(Loop* loop, int type = SOCK_STREAM) {
    int fds[2];
    if (::socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, fds) != 0) std::abort();
    peer = fds[1];
    stream = Stream::open(loop, fds[0],
                          {[](void* p) { ++static_cast<Pair*>(p)->told; }, [](void*) {}}, this);
  }
  ~Pair() {
    stream->close();
    if (peer >= 0) ::close(peer);
  }
  void give(const char* text) {
    if (::write(peer, text, std::strlen(text)) < 0) std::abort();
  }
  void end() { ::close(std::exchange(peer, -1)); }
  std::string read(size_t n, ssize_t* rc = nullptr) {
    char buf[64];
    const ssize_t got = stream->recv(buf, n);
    if (rc) *rc = got;
    return got > 0 ? std::string(buf, static_cast<size_t>(got)) : std::string();
  }
  ssize_t look() {
    char byte;
    return stream->peek(&byte, 1);
  }
  Stream* stream;
  int peer;
  int told = 0;
};

void drained(Loop* loop) {
  Pair p(loop);
  p.stream->want_read(true);
  p.give("one");
  check(turn() && p.told == 1, "told of bytes");
  check(p.read(10) == "one", "all of them");
  p.give("two");
  ssize_t rc;
  check(p.read(10, &rc).empty() && rc == kIoAgain, "not read before it is told");
  check(p.look() == kIoAgain, "nor looked at");
  check(turn() && p.told == 2 && p.read(10) == "two", "but told in the next turn");
  p.end();
  check(p.look() == kIoAgain, "the end is told, too");
  check(turn() && p.told == 3 && p.look() == 0, "told of the end");
  check(p.read(10, &rc).empty() && rc == 0, "read the end");
}

void end_behind_bytes(Loop* loop) {
  Pair p(loop);
  p.stream->want_read(true);
  p.give("bye");
  p.end();
  check(turn() && p.read(10) == "bye", "the bytes before the end");
  check(p.look() == 0, "the end is seen at once");
  ssize_t rc = -1;
  check(p.read(10, &rc).empty() && rc == 0, "and read at once");
}

void half_closed(Loop* loop) {
  Pair p(loop);
  p.stream->want_read(true);
  p.give("bye");
  ::shutdown(p.peer, SHUT_WR);
  check(turn() && p.read(10) == "bye" && p.look() == 0, "a half-close is an end");
}

void larger_than_the_buffer(Loop* loop) {
  Pair p(loop);
  p.stream->want_read(true);
  p.give("0123456789");
  check(turn(), "told");
  check(p.read(4) == "0123" && p.read(4) == "4567", "a full buffer says nothing about the rest");
  check(p.look() > 0, "which is there");
  check(p.read(4) == "89" && p.look() == kIoAgain, "up to the last byte");
  p.give("ab");
  check(turn() && p.look() > 0 && p.look() > 0, "looking takes nothing away");
  check(p.read(2) == "ab", "exactly as many");
  ssize_t rc;
  check(p.read(2, &rc).empty() && rc == kIoAgain, "and then none");
  check(!turn(), "nor an event");
}

void unwatched(Loop* loop) {
  Pair p(loop);
  p.give("one");
  check(p.read(10) == "one", "nobody watches, so it is looked at");
  p.give("two");
  check(p.read(10) == "two", "again");

  p.stream->want_read(true);
  ssize_t rc;
  check(p.read(10, &rc).empty() && rc == kIoAgain, "drained");
  p.stream->want_read(false);
  p.give("three");
  check(turn() && p.told == 0 && g_watched == 0, "an unwanted event ends the watching");
  check(p.look() > 0 && p.read(10) == "three", "from then on it is looked at");
  p.give("four");
  p.stream->want_read(true);
  check(turn() && p.told == 1 && p.read(10) == "four", "and told again");
}

void datagrams(Loop* loop) {
  Pair p(loop, SOCK_DGRAM);
  p.stream->carries_datagrams();
  p.stream->want_read(true);
  p.give("one");
  p.give("two");
  check(turn() && p.read(10) == "one" && p.read(10) == "two", "each is shorter than the buffer");
  ssize_t rc;
  check(p.read(10, &rc).empty() && rc == kIoAgain, "no more");
}

}  // namespace

int main() {
  uv_loop_t uv{};
  auto* loop = new Loop(&uv);
  drained(loop);
  end_behind_bytes(loop);
  half_closed(loop);
  larger_than_the_buffer(loop);
  unwatched(loop);
  datagrams(loop);
  delete loop;
  return g_failures != 0;
}
