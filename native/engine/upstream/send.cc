// How a request is sent: before its answer, or while that comes (UpstreamProtocol::output); and the
// trailers that end such an answer.
#include <algorithm>
#include <utility>

#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/upstream/upstream.h"
#include "http/body.h"

namespace moonphase::engine {

// --- the request, then the answer ---

void Upstream::append_out(const Chain* in, bool copy) {
  for (; in; in = in->next) {
    Buf* b = in->buf;
    if (copy) *(b = make_buf(*r->pool)) = *in->buf;
    *out_end_ = make_chain(*r->pool, b);
    out_end_ = &(*out_end_)->next;
  }
}

// Sends what lies in `out_`.
int Upstream::write_out() {
  while (out_) {
    Buf* first = out_->buf;
    if (first->size() == 0) {
      out_ = out_->next;
      continue;
    }
    ssize_t n;
    off_t want = 0;
    if (first->in_memory()) {
      iovec iov[32];
      int count = 0;
      for (Chain* c = out_; c && count < 32; c = c->next) {
        if (c->buf->size() == 0) continue;
        if (!c->buf->in_memory()) break;
        iov[count++] = {c->buf->pos, static_cast<size_t>(c->buf->size())};
        want += c->buf->size();
      }
      n = stream_->send(iov, count);
    } else {
      want = first->size();
      n = stream_->sendfile(first->file->fd, first->file_pos, static_cast<size_t>(want));
      if (n == 0) {
        MOONPHASE_LOG(r, kLogAlert, 0, "file \"%.*s\" was truncated while it was sent",
                      STR(first->file->name));
        return kError;
      }
    }
    if (n == net::kIoAgain) return kAgain;
    if (n < 0) {
      if (!ssl) MOONPHASE_LOG(r, kLogErr, stream_->error(), "send() failed");
      return kError;
    }
    sent_ += n;
    for (off_t left = n; left > 0;) {
      Buf* b = out_->buf;
      off_t take = std::min(left, b->size());
      if (b->in_memory())
        b->pos += take;
      else
        b->file_pos += take;
      left -= take;
      if (b->size() == 0) out_ = out_->next;
    }
    if (n < want) return kAgain;
  }
  out_end_ = &out_;
  return kOk;
}

// More of a body that is passed on while it comes. kOk: there is some or nothing is left; kAgain; a
// status.
int Upstream::take_client_body() {
  if (!r->reading_body) return kOk;
  int rc = http::read_unbuffered_body(r);
  if (rc >= 300) return rc;
  if (r->body->bufs) return kOk;
  return r->reading_body ? kAgain : kOk;
}

int Upstream::send_request() {
  if (!r->request_body_no_buffering && !frame_body) return write_out();
  if (!request_sent_) watch_body();
  for (;;) {
    if (Chain* in = r->body ? r->body->bufs : nullptr) {
      r->body->bufs = nullptr;
      for (; in; in = in->next) {
        Buf* b = in->buf;
        if (frame_body) {
          Chain whole{frame_body(*this, b, false)};
          if (whole.buf) append_out(&whole, false);
        }
        Chain own{b};
        append_out(&own, false);
        if (frame_body) {
          Chain end{frame_body(*this, b, true)};
          if (end.buf) append_out(&end, false);
        }
      }
    }
    if (int rc = write_out(); rc != kOk) return rc;
    if (!r->reading_body) {
      if (!r->body || !r->body->bufs) break;
      continue;
    }
    request_sent_ = true;
    if (int rc = take_client_body(); rc != kOk) return rc;
  }
  watch_client();
  return kOk;
}

// After a look at what could be sent. False: this try, or the request, is over.
bool Upstream::sending_goes_on(int rc) {
  request_sent_ = true;
  if (rc == kError)
    next(kFailError);
  else if (rc >= 300)
    finalize(rc);
  return rc != kError && rc < 300;
}

void Upstream::send() {
  if (duplex()) {
    send_frames(true);
    return;
  }
  if (stage_ != kSending) return;
  r->conn->action = "sending request to upstream";
  int rc = send_request();
  if (!sending_goes_on(rc)) return;
  if (rc == kAgain) {
    // Either the socket is full, or the client has not sent more.
    stream_->want_write(out_ != nullptr);
    if (out_)
      set_timer(send_timeout);
    else
      net::current_loop()->clear_timer(&timer_);
    return;
  }
  body_sent_ = true;
  stage_ = kWaiting;
  stream_->want_write(false);
  set_timer(read_timeout);
}

// --- both at once ---

// `in`: more of the body. kOk, kAgain: the socket or the server takes no more for now; kError.
int Upstream::push_out(Chain* in) {
  for (;;) {
    const int held = protocol->output(*this, std::exchange(in, nullptr), &out_);
    if (held == kError) return kError;
    if (const int rc = write_out(); rc != kOk) {
      stream_->want_write(rc == kAgain);
      return rc;
    }
    if (held != kBusy) return held;
  }
}

// ngx_http_upstream_send_request_body. Without `write`, nothing is written until the client has
// sent more.
int Upstream::write_frames(bool write) {
  Chain* in = nullptr;
  const auto take = [&] {
    if (!r->request_body_no_buffering) return;
    in = r->body->bufs;
    r->body->bufs = nullptr;
  };
  if (!request_sent_) {
    take();
    if (r->request_body_no_buffering) watch_body();
  }
  int rc = kAgain;
  for (;;) {
    if (write) {
      rc = push_out(std::exchange(in, nullptr));
      if (rc == kError) return rc;
      held_back_ = rc == kAgain;
      if (rc == kOk && !r->reading_body) break;
    }
    if (r->reading_body) {
      const int got = http::read_unbuffered_body(r);
      if (got >= 300) return got;
      take();
    }
    if (!in) {
      rc = kAgain;
      break;
    }
    write = true;
  }
  if (!r->reading_body) watch_client();
  return rc;
}

void Upstream::send_frames(bool write) {
  if (stage_ != kSending && stage_ != kWaiting && stage_ != kPassing) return;
  if (stage_ != kPassing) r->conn->action = "sending request to upstream";
  const int rc = write_frames(write);
  if (!sending_goes_on(rc)) return;
  stream_->want_write(out_ != nullptr);
  if (rc == kAgain && held_back_)
    net::current_loop()->set_timer(&send_timer_, static_cast<uint64_t>(send_timeout));
  else
    net::current_loop()->clear_timer(&send_timer_);
  if (rc == kAgain || body_sent_) return;
  body_sent_ = true;
  if (stage_ != kSending) return;
  stage_ = kWaiting;
  set_timer(read_timeout);
}

// ngx_http_upstream_process_trailers
void Upstream::pass_trailers() {
  if (!conf->pass_trailers) return;
  for (const Header& h : head.trailers)
    if (h.hash && !conf->hidden.has(h.lower)) *r->headers_out.trailers.push(*r->pool) = h;
}

}  // namespace moonphase::engine
