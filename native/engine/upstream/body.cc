// The body of an upstream's answer on its way to the client: read into a fixed number of buffers,
// framed by the protocol, given to the output filters. When all buffers are on their way, nothing
// more is read.
#include <algorithm>

#include "base/clock.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/upstream/cache.h"
#include "http/output.h"

namespace moonphase::engine {

void Upstream::send_response() {
  if (cache) cache->decide();
  int rc = http::send_header(r);
  if (rc == kError || rc > kOk || r->post_action) {
    finalize(rc);
    return;
  }
  header_sent = true;
  if (r->header_only && !cacheable) {
    finalize(rc);
    return;
  }
  if (r->header_only) client_lost_ = true;
  if (upgraded) {
    upgrade();
    return;
  }
  if (!buffering) {
    r->limit_rate = 0;
    r->limit_rate_set = true;
  }
  if (protocol->begin_body(*this) != kOk) {
    finalize(kError);
    return;
  }
  stage_ = kPassing;
  if (!duplex()) stream_->want_write(false);
  r->write_event_handler = [](Request* r) { of(r)->on_client_writable(); };

  // What came behind the head is the first of the body, in the same buffer.
  filling_ = r->pool->make<Raw>();
  raws_ = 1;
  filling_->start = head_buf.start;
  filling_->end = head_buf.end;
  filling_->fed = head_buf.pos;
  filling_->last = head_buf.last;
  read_length_ = head_buf.last - head_buf.pos;
  limit_reading();
  if (!buffering && read_length_ == 0) {
    filling_->fed = filling_->last = filling_->start;
    if (http::send_special(r, http::kSendFlush) == kError) {
      finalize(kError);
      return;
    }
    if (stage_ == kOver) return;
  }
  pass_body();
}

// proxy_limit_rate
void Upstream::limit_reading() {
  if (!buffering || conf->limit_rate.empty()) return;
  limit_rate_ = http::evaluate_size(r, conf->limit_rate);
  reading_since_ = now().wall_sec();
}

// How many of `room` bytes may be read now; 0: none, and the timer is set for when some may.
size_t Upstream::readable(size_t room) {
  if (!limit_rate_) return room;
  const int64_t allowed = limit_rate_ * (now().wall_sec() - reading_since_ + 1) - read_length_;
  if (allowed > 0) return std::min(room, static_cast<size_t>(allowed));
  delayed_ = true;
  set_timer(-allowed * 1000 / limit_rate_ + 1);
  return 0;
}

bool Upstream::has_room() const { return filling_ || free_raws_ || raws_ < most_raws(); }

Upstream::Raw* Upstream::free_raw() {
  Raw* raw = free_raws_;
  if (raw) {
    free_raws_ = raw->next;
  } else {
    if (raws_ >= most_raws()) return nullptr;
    ++raws_;
    raw = r->pool->make<Raw>();
    raw->start = r->pool->bytes(conf->buffers_size);
    raw->end = raw->start + conf->buffers_size;
  }
  raw->fed = raw->last = raw->start;
  raw->next = nullptr;
  return raw;
}

void Upstream::pass(char* from, char* to) {
  if (from == to) return;
  if (cacheable) cache->keep(from, to);
  if (client_lost_) return;
  View* v = free_views_;
  if (v)
    free_views_ = v->next;
  else
    v = new (r->pool->alloc(sizeof(View))) View;
  v->buf = Buf();
  v->buf.pos = v->buf.start = from;
  v->buf.last = v->buf.end = to;
  v->buf.temporary = true;
  if (buffering)
    v->buf.recycled = true;
  else
    v->buf.flush = true;
  v->link = {&v->buf, nullptr};
  v->next = nullptr;
  v->raw = filling_;
  ++filling_->views;
  *ready_end_ = v;
  ready_end_ = &v->next;
}

// Gives the bytes of the buffer that is being filled to the protocol.
int Upstream::feed(Raw* raw) {
  int rc = protocol->body(*this, raw->fed, raw->last);
  raw->fed = raw->last;
  filling_ = nullptr;
  if (raw->views == 0) {
    raw->next = free_raws_;
    free_raws_ = raw;
  }
  return rc;
}

// Buffers that the client has got can be filled again.
void Upstream::recycle() {
  while (busy_ && busy_->buf.pos == busy_->buf.last) {
    View* v = busy_;
    busy_ = v->next;
    if (--v->raw->views == 0) {
      v->raw->next = free_raws_;
      free_raws_ = v->raw;
    }
    v->next = free_views_;
    free_views_ = v;
  }
  if (!busy_) busy_end_ = &busy_;
}

// The client has gone, and the answer goes on into the cache.
void Upstream::lose_client() {
  client_lost_ = true;
  client_blocked_ = false;
  r->conn->set_write_timeout(0);
  for (View* list : {busy_, ready_}) {
    for (View* v = list; v; v = v->next) {
      if (--v->raw->views > 0 || v->raw == filling_) continue;
      v->raw->next = free_raws_;
      free_raws_ = v->raw;
    }
  }
  busy_ = ready_ = nullptr;
  busy_end_ = &busy_;
  ready_end_ = &ready_;
}

// False: the request has ended.
bool Upstream::give() {
  if (nonsense_) {  // what it said is not to be trusted, from here on and before
    finalize(kError);
    return false;
  }
  bool complete = eof_ || error_ || length == 0;
  if (!ready_ || (client_blocked_ && !complete)) return true;
  // A buffered answer waits until it is the request's turn to send, or it is complete: one that
  // breaks off before is given to nobody.
  if (buffering && !complete && r->conn->active != r && has_room()) return true;
  Chain* out = &ready_->link;
  for (View* v = ready_; v; v = v->next) {
    v->link.next = v->next ? &v->next->link : nullptr;
    if (complete) v->buf.recycled = false;  // may wait for the end of the answer
  }
  *busy_end_ = ready_;
  busy_end_ = ready_end_;
  ready_ = nullptr;
  ready_end_ = &ready_;
  int rc = http::output(r, out);
  if (stage_ == kOver) return false;
  if (rc == kError && cacheable) {
    lose_client();
    return true;
  }
  if (rc == kError) {
    finalize(kError);
    return false;
  }
  recycle();
  client_blocked_ = rc == kAgain;
  return true;
}

// Is everything there, or will it never be?
bool Upstream::over() {
  if (length == 0 || (eof_ && length == -1)) {
    if (cacheable) cache->complete();
    finalize(client_lost_ && !r->header_only ? int{kError} : int{kOk});
    return true;
  }
  if (!eof_ && !error_) return false;
  if (eof_) MOONPHASE_LOG(r, kLogErr, 0, "upstream prematurely closed connection");
  finalize(502);
  return true;
}

// Reads what is there. False: nothing has changed.
bool Upstream::take() {
  bool fed = false;
  while (!eof_ && !error_ && !delayed_ && length != 0) {
    if (!filling_ && !(filling_ = free_raw())) break;
    Raw* raw = filling_;
    int64_t there = raw->last - raw->fed;
    // What lay behind the head may be all there is, and unbuffered it goes first.
    bool satisfied = there > 0 && (!buffering || (length != -1 && there >= length));
    if (raw->last < raw->end && !drained_ && !satisfied) {
      const size_t room = readable(static_cast<size_t>(raw->end - raw->last));
      if (!room) break;
      r->conn->action = "reading upstream";
      ssize_t n = stream_->recv(raw->last, room);
      if (n == net::kIoAgain || static_cast<size_t>(n) < room) drained_ = true;
      if (n > 0) {
        raw->last += n;
        read_length_ += n;
        state->bytes_received += n;
      } else if (n == 0) {
        eof_ = true;
      } else if (n == net::kIoError) {
        MOONPHASE_LOG(r, kLogErr, stream_->error(), "recv() failed");
        error_ = true;
      }
    }
    there = raw->last - raw->fed;
    bool enough =
        raw->last == raw->end || eof_ || error_ || !buffering || (length != -1 && there >= length);
    if (there > 0 && enough) {
      fed = true;
      if (feed(raw) == kError) error_ = nonsense_ = true;
    }
    if (drained_ || !enough) break;
  }
  return fed || eof_ || error_;
}

void Upstream::pass_body() {
  if (passing_) return;
  passing_ = true;
  drained_ = false;
  if (buffering) r->conn->action = "reading upstream";
  do {
    if (!give() || over()) {
      passing_ = false;
      return;
    }
  } while (take());
  passing_ = false;

  http::Connection* c = r->conn;
  if (client_blocked_ && c->active == r && !c->write_delayed && !r->output_held) {
    c->set_write_timeout(r->loc->send_timeout);
    c->want_write(true);
  }
  const bool room = has_room() && !delayed_;
  stream_->want_read(room);
  if (delayed_) return;
  if (room)
    set_timer(read_timeout);
  else
    net::current_loop()->clear_timer(&timer_);
  if (duplex()) send_frames(true);
}

void Upstream::on_client_writable() {
  if (stage_ != kPassing) return;
  http::Connection* c = r->conn;
  if (c->write_timedout) {
    c->timedout = true;
    MOONPHASE_LOG(r, kLogInfo, ETIMEDOUT, "client timed out");
    if (cacheable) {
      c->error = true;
      lose_client();
      pass_body();
      return;
    }
    finalize(408);
    return;
  }
  if (c->write_delayed || client_lost_) return;
  int rc = http::output(r, nullptr);
  if (stage_ == kOver) return;
  if (rc == kError && cacheable) {
    lose_client();
    pass_body();
    return;
  }
  if (rc == kError) {
    finalize(kError);
    return;
  }
  recycle();
  client_blocked_ = rc == kAgain;
  if (!client_blocked_) c->set_write_timeout(0);
  pass_body();
}

}  // namespace moonphase::engine
