// A request that goes on while its answer comes (UpstreamProtocol::output), and the trailers that
// end such an answer.
#include <utility>

#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/upstream.h"
#include "http/body.h"

namespace moonphase::engine {

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
  request_sent_ = true;
  if (rc == kError) {
    next(kFailError);
    return;
  }
  if (rc >= 300) {
    finalize(rc);
    return;
  }
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
    if (h.hash && conf->hidden.find(h.lower) == conf->hidden.end())
      *r->headers_out.trailers.push(*r->pool) = h;
}

}  // namespace moonphase::engine
