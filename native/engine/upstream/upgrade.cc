// A connection that has changed its protocol (101 Switching Protocols: WebSocket): bytes go both
// ways as they come, one buffer for each.
#include <netinet/tcp.h>

#include <cerrno>

#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/upstream/upstream.h"
#include "http/output.h"

namespace moonphase::engine {

namespace {

void no_delay(http::Connection* c) {
  if (c->tcp_nodelay_set || !c->stream || c->peer.ss_family == AF_UNIX) return;
  const int on = 1;
  setsockopt(c->stream->fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  c->tcp_nodelay_set = true;
}

}  // namespace

struct Upstream::Tunnel {
  char *start = nullptr, *end = nullptr, *pos = nullptr, *last = nullptr;
  bool eof = false;   // nothing comes from there any more
  bool full = false;  // the other side takes no more now
  bool empty() const { return pos == last; }
};

void Upstream::upgrade() {
  http::Connection* c = r->conn;
  if (!r->is_main() || c->hosted || c->framed) {
    MOONPHASE_LOG(r, kLogErr, 0, "connection upgrade %s",
                  r->is_main() ? "is not possible here" : "in subrequest");
    finalize(kError);
    return;
  }
  r->keepalive = false;
  keepalive = false;
  c->action = "proxying upgraded connection";
  stage_ = kUpgraded;
  if (loc(r)->tcp_nodelay) no_delay(c);
  if (http::send_special(r, http::kSendFlush) == kError) {
    finalize(kError);
    return;
  }
  if (stage_ == kOver) return;
  tunnels_ = r->pool->array<Tunnel>(2);
  // What came behind the head is the server's first.
  tunnels_[kFromServer] = {head_buf.start, head_buf.end, head_buf.pos, head_buf.last};
  char* own = r->pool->bytes(conf->buffer_size);
  tunnels_[kFromClient] = {own, own + conf->buffer_size, own, own};
  r->read_event_handler = [](Request* r) { of(r)->pass_upgraded(); };
  r->write_event_handler = r->read_event_handler;
  c->set_read_timeout(0);
  c->want_read(true);
  stream_->want_read(true);
  pass_upgraded();
}

// Bytes from one side to the other until one of them blocks. False: that has failed.
bool Upstream::pump(Way way) {
  Tunnel& t = tunnels_[way];
  http::Connection* c = r->conn;
  t.full = false;
  for (;;) {
    while (!t.empty()) {
      ssize_t n;
      const size_t size = static_cast<size_t>(t.last - t.pos);
      if (way == kFromServer) {
        Buf b{};
        b.start = b.pos = t.pos;
        b.end = b.last = t.last;
        b.memory = true;
        Chain link{&b, nullptr};
        c->send(&link, 0);
        n = b.pos - t.pos;
        if (n == 0) n = c->error ? net::kIoError : net::kIoAgain;
      } else {
        const iovec iov{t.pos, size};
        n = stream_->send(&iov, 1);
        if (n > 0) sent_ += n;
      }
      if (n == net::kIoAgain) {
        t.full = true;
        break;
      }
      if (n < 0) return false;
      t.pos += n;
    }
    if (t.empty()) t.pos = t.last = t.start;
    const auto room = static_cast<size_t>(t.end - t.last);
    if (t.eof || room == 0) return true;
    const ssize_t n = way == kFromServer ? stream_->recv(t.last, room) : c->recv(t.last, room);
    if (n == net::kIoAgain) return true;
    if (n <= 0) {
      t.eof = true;
      return true;
    }
    t.last += n;
    if (way == kFromServer) {
      state->bytes_received += n;
      read_length_ += n;
    }
    if (t.full) return true;
  }
}

void Upstream::pass_upgraded() {
  if (stage_ != kUpgraded) return;
  http::Connection* c = r->conn;
  if (c->write_timedout) {
    c->timedout = true;
    MOONPHASE_LOG(r, kLogInfo, ETIMEDOUT, "client timed out");
    finalize(408);
    return;
  }
  if (!pump(kFromServer) || !pump(kFromClient)) {
    finalize(kError);
    return;
  }
  const Tunnel &down = tunnels_[kFromServer], &up = tunnels_[kFromClient];
  if ((down.eof && (down.empty() || up.eof)) || (up.eof && up.empty())) {
    MOONPHASE_LOG(r, kLogDebug, 0, "http upstream upgraded done");
    finalize(kOk);
    return;
  }
  c->want_read(!up.eof && up.last < up.end);
  c->want_write(down.full);
  c->set_write_timeout(down.full ? r->loc->send_timeout : 0);
  stream_->want_read(!down.eof && down.last < down.end);
  stream_->want_write(up.full);
  // Silence of the server, or a server that takes nothing.
  set_timer(up.full ? std::min(send_timeout, read_timeout) : read_timeout);
}

}  // namespace moonphase::engine
