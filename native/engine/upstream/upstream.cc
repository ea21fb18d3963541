// The road to the server and back to the head of its answer.
#include "engine/upstream/upstream.h"

#include <netinet/tcp.h>

#include <cerrno>
#include <utility>

#include "base/clock.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/sockets/socket_pool.h"
#include "engine/upstream/cache.h"
#include "engine/upstream/tls_lua.h"
#include "engine/variables/variables.h"
#include "http/body.h"

namespace moonphase::engine {

namespace {

// nginx's levels for a connect() that fails at once.
int connect_level(int err) {
  switch (err) {
    case ECONNREFUSED:
    case EAGAIN:
    case ECONNRESET:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
      return kLogErr;
    default:
      return kLogCrit;
  }
}

}  // namespace

// Events of the connection and of the client's.
struct UpstreamEvents {
  static Upstream* enter(void* p) {
    auto* u = static_cast<Upstream*>(p);
    u->r->conn->current = u->r;
    return u;
  }
  static void readable(void* p) { enter(p)->on_readable(); }
  static void writable(void* p) { enter(p)->on_writable(); }
  static void timeout(void* p) { enter(p)->on_timeout(); }
  static void send_timeout(void* p) { enter(p)->next(kFailTimeout); }
  static void cleanup(void* p) { static_cast<Upstream*>(p)->tear_down(); }
  static void client_event(Request* r) { Upstream::of(r)->check_client(); }
  static void client_body(Request* r) {
    Upstream* u = Upstream::of(r);
    if (r->conn->read_timedout) {
      r->conn->timedout = true;
      u->finalize(408);
      return;
    }
    if (u->duplex())
      u->send_frames(false);
    else
      u->send();
  }
  static void body_read(Request* r) { Upstream::of(r)->begin(); }
};

Upstream* Upstream::create(Request* r, const UpstreamConf* conf, const UpstreamProtocol* protocol,
                           void* data) {
  static_assert(std::is_trivially_destructible_v<Upstream>);
  auto* u = new (r->pool->alloc(sizeof(Upstream))) Upstream;
  u->r = r;
  u->conf = conf;
  u->protocol = protocol;
  u->data = data;
  u->buffering = conf->buffering;
  u->connect_timeout = conf->connect_timeout;
  u->send_timeout = conf->send_timeout;
  u->read_timeout = conf->read_timeout;
  u->timer_.fn = UpstreamEvents::timeout;
  u->send_timer_.fn = UpstreamEvents::send_timeout;
  u->timer_.data = u->send_timer_.data = u;
  if (!r->ctx[kModUpstream]) r->ctx[kModUpstream] = r->pool->make<UpstreamRecord>();
  UpstreamRecord::of(r)->last_upstream = u;
  return u;
}

int Upstream::run(Request* r) {
  int rc = http::read_body(r, UpstreamEvents::body_read);
  return rc >= 300 ? rc : int{kDone};
}

void Upstream::begin() {
  r->conn->set_read_timeout(0);
  if (conf->cache && UpstreamCache::look(*this) == kDone) return;
  ask();
}

void Upstream::ask() {
  watch_client();
  if (!conf->ignore_client_abort && !r->post_action)
    r->write_event_handler = UpstreamEvents::client_event;
  if (protocol->create_request(*this) != kOk) {
    finalize_request(r, 500);
    return;
  }
  UpstreamRecord* tries = UpstreamRecord::of(r);
  if (tries->last) tries->last = tries->last->next = state = r->pool->make<UpstreamState>();
  cleanup_ = on_request_end(r, UpstreamEvents::cleanup, this);
  begin_ms_ = now().monotonic_ms;
  find_peers();
}

void Upstream::find_peers() {
  if (!group) group = find_group(plan(r), host, port, false);
  if (!group && port == 0 && !host.starts_with("unix:")) {
    MOONPHASE_LOG(r, kLogErr, 0, "no port in upstream \"%.*s\"", STR(host));
    finalize(500);
    return;
  }
  if (!group) {
    net::ResolveResult at_once;
    net::ResolvedAddress one{};
    if (literal_address(host, port, &one.addr, &one.len)) {
      at_once.addresses.push_back(one);
      resolved(at_once);
      return;
    }
    const LocConf* lc = loc(r);
    if (!lc->resolver) {
      MOONPHASE_LOG(r, kLogErr, 0, "no resolver defined to resolve %.*s", STR(host));
      finalize(502);
      return;
    }
    net::ResolverConf rc;
    rc.servers = lc->resolver->servers;
    rc.valid = lc->resolver->valid;
    rc.ipv4 = lc->resolver->ipv4;
    rc.ipv6 = lc->resolver->ipv6;
    stage_ = kResolving;
    resolution_ = socket_pools(generation(r))
                      .resolver.resolve(
                          rc, host, lc->resolver_timeout,
                          [](void* p, const net::ResolveResult& result) {
                            Upstream* u = UpstreamEvents::enter(p);
                            u->resolution_ = nullptr;
                            u->resolved(result);
                          },
                          this, &at_once);
    if (!resolution_) resolved(at_once);
    return;
  }
  walk_.begin(r, group, conf->next_tries);
  connect();
}

void Upstream::resolved(const net::ResolveResult& result) {
  if (result.code) {
    MOONPHASE_LOG(r, kLogErr, 0, "%.*s could not be resolved (%d: %s)", STR(host), result.code,
                  net::resolve_strerror(result.code));
    finalize(502);
    return;
  }
  group = make_group(r, host, port, result.addresses);
  walk_.begin(r, group, conf->next_tries);
  connect();
}

// --- connecting ---

void Upstream::set_timer(int64_t ms) {
  net::current_loop()->set_timer(&timer_, static_cast<uint64_t>(ms));
}

void Upstream::clear_timers() {
  net::current_loop()->clear_timer(&timer_);
  net::current_loop()->clear_timer(&send_timer_);
}

void Upstream::close_stream() {
  clear_timers();
  out_ = nullptr;
  if (!stream_) return;
  if (tls_lua) end_asking(std::exchange(tls_lua, nullptr));
  stream_->close();
  stream_ = nullptr;
}

void Upstream::connect() {
  http::Connection* c = r->conn;
  c->action = "connecting to upstream";
  int64_t ms = now().monotonic_ms;
  if (state && state->response_time == -1) state->response_time = ms - start_ms_;
  state = r->pool->make<UpstreamState>();
  UpstreamRecord* tries = UpstreamRecord::of(r);
  previous_ = tries->last;
  (tries->last ? tries->last->next : tries->first) = state;
  tries->last = state;
  start_ms_ = ms;
  sent_ = 0;
  by_lua_ = false;
  if (group->plan && group->plan->balancer)
    choose_by_lua();
  else
    chosen(walk_.next());
}

// `rc`: kOk: there is a server; kBusy: there is none; kDeclined: ask again; kError or a status: the
// end.
void Upstream::chosen(int rc) {
  if (rc == kError || rc >= 300) {
    finalize(rc == kError ? 500 : rc);
    return;
  }
  if (rc == kBusy) {
    peer_name = r->pool->copy(group->name);
    state->peer = peer_name;
    MOONPHASE_LOG(r, kLogErr, 0, "no live upstreams");
    next(kFailNobody);
    return;
  }
  if (rc == kDeclined) {
    state->peer = peer_name;
    next(kFailError);
    return;
  }
  if (by_lua_) {
    addr_ = reinterpret_cast<const sockaddr*>(&lua->addr);
    addr_len_ = lua->len;
    peer_name = lua->name;
  } else {
    UpstreamPeer* peer = walk_.current;
    addr_ = reinterpret_cast<const sockaddr*>(&peer->addr);
    addr_len_ = peer->len;
    peer_name = r->pool->copy(peer->name);
  }
  state->peer = peer_name;
  peer_is_unix = addr_->sa_family == AF_UNIX;
  if (!open_stream()) return;
  protocol->restart(*this);
  head = UpstreamHead();
  upgraded = false;
  head_buf.pos = head_buf.last = head_buf.start;
  request_sent_ = body_sent_ = held_back_ = false;
  out_ = nullptr;
  out_end_ = &out_;
  if (!duplex()) append_out(request, true);
  ++link_.requests;
  keepalive = false;
  if (cached_) {
    state->connect_time = 0;
    stage_ = kSending;
    stream_->want_read(true);
    send();
    return;
  }
  stage_ = kConnecting;
  stream_->want_write(true);
  set_timer(connect_timeout);
}

// proxy_bind, unless Lua has said where from.
bool Upstream::local_address(sockaddr_storage* addr, socklen_t* len) {
  if (lua && lua->local_len) {
    *addr = lua->local;
    *len = lua->local_len;
    local_name_ = lua->local_name;
    return true;
  }
  if (!conf->has_bind) return false;
  const Str text = local_name_ = eval(r, conf->bind);
  if (text.empty() || text == "off") return false;
  std::string host;
  int port;
  split_address(std::string(text), &host, &port);
  if (literal_address(text, 0, addr, len) || literal_address(host, port, addr, len)) return true;
  MOONPHASE_LOG(r, kLogErr, 0, "invalid local address \"%.*s\"", STR(text));
  return false;
}

KeepaliveKey Upstream::connection_key() const {
  KeepaliveKey key;
  key.addr = addr_;
  key.len = addr_len_;
  key.protocol = protocol;
  key.user = conf;
  if (local_len_) key.local = reinterpret_cast<const sockaddr*>(&local_);
  key.local_len = local_len_;
  return key;
}

// An idle connection or a new one. False: it has ended another way.
bool Upstream::open_stream() {
  static constexpr net::Stream::Events kEvents = {UpstreamEvents::readable,
                                                  UpstreamEvents::writable};
  link_ = {0, now().monotonic_ms};
  local_len_ = 0;
  if (!local_address(&local_, &local_len_)) local_len_ = 0;
  if (lua_pool()) {
    take_lua_idle();
  } else if (group->keepalive) {
    stream_ = group->keepalive->take(connection_key(), &link_);
    if (stream_)
      MOONPHASE_LOG(r, kLogDebug, 0, "get keepalive peer: using connection %p",
                    static_cast<void*>(stream_));
  }
  if (stream_ && (stream_->tls != nullptr) != ssl) {
    stream_->close();
    stream_ = nullptr;
    link_ = {0, now().monotonic_ms};
  }
  cached_ = stream_ != nullptr;
  if (cached_) {
    if (ssl) stream_->tls->set_owner(this);
    stream_->set_events(kEvents, this);
    return true;
  }
  bool bound = true;
  stream_ = net::Stream::connect(net::current_loop(), addr_, addr_len_,
                                 local_len_ ? reinterpret_cast<const sockaddr*>(&local_) : nullptr,
                                 local_len_, kEvents, this, &bound);
  if (stream_) {
    const int on = 1;
    if (conf->socket_keepalive &&
        setsockopt(stream_->fd(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) != 0)
      MOONPHASE_LOG(r, kLogAlert, errno, "setsockopt(SO_KEEPALIVE) failed, ignored");
    return true;
  }
  int err = errno;
  if (!bound) {
    MOONPHASE_LOG(r, kLogCrit, err, "bind(%.*s) failed", STR(local_name_));
    finalize(500);
    return false;
  }
  MOONPHASE_LOG(r, connect_level(err), err, "connect() to %.*s failed", STR(peer_name));
  next(kFailError);
  return false;
}

void Upstream::connected() {
  if (int err = stream_->connect_error()) {
    r->conn->action = "connecting to upstream";
    MOONPHASE_LOG(r, kLogErr, err, "connect() failed");
    next(kFailError);
    return;
  }
  state->connect_time = now().monotonic_ms - start_ms_;
  if (!peer_is_unix) {
    int on = 1;
    setsockopt(stream_->fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  if (ssl) {
    begin_handshake();
    return;
  }
  stage_ = kSending;
  stream_->want_read(true);
  send();
}

// --- the head of the answer ---

void Upstream::read_head() {
  r->conn->action = "reading response header from upstream";
  if (!head_buf.start) {
    head_buf.start = head_buf.pos = head_buf.last = r->pool->bytes(conf->buffer_size);
    head_buf.end = head_buf.start + conf->buffer_size;
    head_buf.temporary = true;
  }
  int rc;
  for (;;) {
    ssize_t n = stream_->recv(head_buf.last, static_cast<size_t>(head_buf.end - head_buf.last));
    if (n == net::kIoAgain) {
      if (duplex()) send_frames(true);
      return;
    }
    if (n == 0) MOONPHASE_LOG(r, kLogErr, 0, "upstream prematurely closed connection");
    if (n < 0 && !ssl) MOONPHASE_LOG(r, kLogErr, stream_->error(), "recv() failed");
    if (n <= 0) {
      next(kFailError);
      return;
    }
    state->bytes_received += n;
    head_buf.last += n;
    rc = protocol->process_header(*this);
    if (rc != kAgain) break;
    if (head_buf.last == head_buf.end) {
      MOONPHASE_LOG(r, kLogErr, 0, "upstream sent too big header");
      next(kFailInvalidHeader);
      return;
    }
  }
  if (rc == kInvalidHeader) {
    next(kFailInvalidHeader);
    return;
  }
  if (rc == kError) {
    finalize(500);
    return;
  }
  state->header_time = now().monotonic_ms - start_ms_;
  if (head.status >= 300) {
    if (test_next() || (cache && cache->instead_of_head()) || intercept()) return;
  }
  if (copy_head()) send_response();
}

// --- events ---

void Upstream::on_readable() {
  if (stage_ == kHandshaking)
    handshake();
  else if (stage_ == kPassing)
    pass_body();
  else if (stage_ == kUpgraded)
    pass_upgraded();
  else if (stage_ == kSending || stage_ == kWaiting)
    read_head();
}

void Upstream::on_writable() {
  if (stage_ == kConnecting)
    connected();
  else if (stage_ == kHandshaking)
    handshake();
  else if (stage_ == kSending || duplex())
    send();
  else if (stage_ == kUpgraded)
    pass_upgraded();
  else if (stream_)
    stream_->want_write(false);
}

void Upstream::on_timeout() {
  if (stage_ != kPassing && stage_ != kUpgraded) {
    if (stage_ == kWaiting) r->conn->action = "reading response header from upstream";
    next(kFailTimeout);
    return;
  }
  if (delayed_) {
    delayed_ = false;
    pass_body();
    return;
  }
  if (stage_ == kPassing) r->conn->action = "reading upstream";
  MOONPHASE_LOG(r, kLogErr, ETIMEDOUT, "upstream timed out");
  finalize(504);
}

void Upstream::watch_body() { r->read_event_handler = UpstreamEvents::client_body; }

// Nothing more is read from the client, but it may go.
void Upstream::watch_client() {
  if (conf->ignore_client_abort || r->post_action) return;
  r->read_event_handler = UpstreamEvents::client_event;
  r->conn->want_read(true);
}

// The client may have gone while nobody reads from it.
void Upstream::check_client() {
  http::Connection* c = r->conn;
  if (stage_ == kOver) return;
  int err = 0;
  if (!c->error) {
    const ssize_t n = c->peek();
    if (n == net::kIoAgain) return;
    c->want_read(false);
    if (n > 0) return;  // the next request
    if (n < 0) err = c->io_error();
    c->eof = true;
    c->error = true;
    MOONPHASE_LOG(r, kLogInfo, err, "%s",
                  stream_ && !cacheable
                      ? "client prematurely closed connection, so upstream connection is closed too"
                      : "client prematurely closed connection");
  }
  if (cacheable && stream_) return;  // others will ask for it
  finalize(499);
}

}  // namespace moonphase::engine
