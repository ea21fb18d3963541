// How a try ends, who is asked next, and how the whole ends.
#include <cerrno>

#include "base/clock.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/sockets/socket_pool.h"
#include "engine/upstream/cache.h"
#include "http/body.h"
#include "http/output.h"

namespace moonphase::engine {

namespace {

int status_of(uint32_t failure) {
  switch (failure) {
    case kFailTimeout:
    case kFail504:
      return 504;
    case kFail500:
      return 500;
    case kFail503:
      return 503;
    case kFail403:
      return 403;
    case kFail404:
      return 404;
    case kFail429:
      return 429;
    default:
      return 502;
  }
}

}  // namespace

void Upstream::free_peer(int how) {
  if (!by_lua_) {
    walk_.release(how & kPeerFailed);
    return;
  }
  MOONPHASE_LOG(r, kLogDebug, 0, "lua balancer: free peer, tries: %d", walk_.tries);
  by_lua_ = false;
  lua->last_state = how;
  if (walk_.tries) --walk_.tries;
}

// The request is done with its connection.
void Upstream::release_stream() {
  const bool fit = stream_ && keepalive && body_sent_ && has_peer() && !generation(r)->exiting;
  clear_timers();
  if (fit && by_lua_ && lua_keeps()) {
    put_lua_idle();
  } else if (fit && !lua_pool() && group && group->keepalive) {
    const UpstreamPlan* plan = group->plan;
    if (link_.requests < plan->keepalive_requests &&
        now().monotonic_ms - link_.start_ms <= plan->keepalive_time) {
      if (stream_->tls) {
        save_session();
        stream_->tls->set_owner(nullptr);
      }
      MOONPHASE_LOG(r, kLogDebug, 0, "free keepalive peer: saving connection %p",
                    static_cast<void*>(stream_));
      group->keepalive->put(stream_, connection_key(), link_, plan->keepalive_timeout);
      stream_ = nullptr;
    }
  }
  if (by_lua_ && lua->keepalive && (stream_ || !lua_pool()))
    MOONPHASE_LOG(r, kLogDebug, 0, "lua balancer: keepalive not saving connection %p",
                  static_cast<void*>(stream_));
  free_peer(0);
  close_stream();
}

void Upstream::next(uint32_t failure) {
  MOONPHASE_LOG(r, kLogDebug, 0, "http next upstream, %x", failure);
  if (has_peer()) {
    const bool by_lua = by_lua_;
    state->bytes_sent = sent_;
    if (by_lua && lua->keepalive)
      MOONPHASE_LOG(r, kLogDebug, 0, "lua balancer: keepalive not saving connection %p",
                    static_cast<void*>(stream_));
    free_peer(failure == kFail403 || failure == kFail404 ? kPeerNext : kPeerFailed);
    // The server may have closed it at the moment it was taken: that is no try. (Lua's pool may
    // hold many such ones, and counts.)
    if (cached_ && failure == kFailError && !by_lua) ++walk_.tries;
  }
  if (failure == kFailTimeout) MOONPHASE_LOG(r, kLogErr, ETIMEDOUT, "upstream timed out");
  int status = status_of(failure);
  if (r->conn->error) {
    finalize(499);
    return;
  }
  state->status = status;

  if (request_sent_ && (r->method & (http::kPost | http::kLock | http::kPatch)))
    failure |= kFailNonIdempotent;
  bool late = conf->next_timeout && now().monotonic_ms - begin_ms_ >= conf->next_timeout;
  if (header_sent || walk_.tries == 0 || (conf->next_upstream & failure) != failure ||
      (request_sent_ && r->request_body_no_buffering) || late) {
    if (cache && cache->stale_instead(failure & ~kFailNonIdempotent)) return;
    finalize(status);
    return;
  }
  close_stream();
  connect();
}

void Upstream::tear_down() {
  if (cleanup_) cleanup_->fn = nullptr;
  cleanup_ = nullptr;
  stage_ = kOver;
  if (resolution_) {
    socket_pools(generation(r)).resolver.cancel(resolution_);
    resolution_ = nullptr;
  }
  if (state && state->response_time == -1) {
    state->response_time = now().monotonic_ms - start_ms_;
    if (read_length_) state->response_length = read_length_;
    state->bytes_sent = sent_;
  }
  release_stream();
  walk_.end();
}

void Upstream::finalize(int rc) {
  MOONPHASE_LOG(r, kLogDebug, 0, "finalize http upstream request: %d", rc);
  if (stage_ == kOver) return;
  tear_down();
  if (cache) cache->end(rc);
  r->read_event_handler = http::block_reading;
  if (rc == kDeclined) return;
  r->conn->action = "sending to client";
  if (!header_sent || rc == 408 || rc == 499) {
    finalize_request(r, rc);
    return;
  }
  bool flush = rc >= 300;
  if (flush) rc = kError;
  if (r->header_only || r->conn->error) {
    finalize_request(r, rc);
    return;
  }
  if (rc == kOk) {
    pass_trailers();
    rc = http::send_special(r, http::kSendLast);
  } else if (flush) {
    r->keepalive = false;
    rc = http::send_special(r, http::kSendFlush);
  }
  finalize_request(r, rc);
}

char* append_upstream(const Request* r, char* p, char* end) {
  const Upstream* u = Upstream::of(r);
  if (!u || u->peer_name.empty()) return p;
  auto put = [&](Str s) {
    size_t n = std::min(s.size(), static_cast<size_t>(end - p));
    p = put_bytes(p, s.substr(0, n));
  };
  put(", upstream: \"");
  put(u->schema);
  put(u->peer_name);
  if (u->peer_is_unix) put(":");
  put(u->uri);
  put("\"");
  return p;
}

}  // namespace moonphase::engine
