// Passing a request on to another server: connects, sends it, reads the head of the answer, passes
// the body through the output filters with backpressure, goes to the next server where rules allow.
// What is said on the wire is a protocol's (modules/proxy.cc). One per request, in its arena, until
// the request's memory goes; its connection ends earlier.
#pragma once

#include "engine/upstream/peer.h"
#include "http/names.h"
#include "http/request.h"
#include "net/stream.h"
#include "net/tls_context.h"

namespace moonphase::engine {

using http::Header;
using http::Request;

// Why a try has failed, as `proxy_next_upstream` names it.
enum UpstreamFailure : uint32_t {
  kFailError = 0x2,
  kFailTimeout = 0x4,
  kFailInvalidHeader = 0x8,
  kFail500 = 0x10,
  kFail502 = 0x20,
  kFail503 = 0x40,
  kFail504 = 0x80,
  kFail403 = 0x100,
  kFail404 = 0x200,
  kFail429 = 0x400,
  kFailNonIdempotent = 0x800,
  kFailNobody = 0x1000,    // no live servers: never in a mask of next_upstream
  kFailUpdating = 0x2000,  // proxy_cache_use_stale only
};

// `proxy_ignore_headers`
enum IgnoredHeader : uint32_t {
  kIgnoreRedirect = 1,
  kIgnoreExpires = 2,
  kIgnoreLimitRate = 4,
  kIgnoreBuffering = 8,
  kIgnoreCharset = 16,
  kIgnoreAccelExpires = 32,
  kIgnoreCacheControl = 64,
  kIgnoreSetCookie = 128,
  kIgnoreVary = 256,
};

// TLS to the server: proxy_ssl_*.
struct UpstreamTls {
  net::TlsClientSettings settings;
  net::TlsContext context;  // made by seal_proxy(), or when balancer_by_lua switches TLS on
  bool session_reuse = true, server_name = false, verify = false;
  bool has_name = false;
  Complex name;  // without: the host of the URL
  // proxy_ssl_certificate and _key when one of them has variables: loaded per connection.
  bool by_name = false;
  Complex certificate, key;
};

struct UpstreamConf {
  std::shared_ptr<UpstreamTls> tls;
  bool has_bind = false;
  Complex bind;  // proxy_bind
  bool socket_keepalive = false;
  int64_t connect_timeout = 60000, send_timeout = 60000, read_timeout = 60000;
  size_t buffer_size = 4096;
  int buffers_number = 8;
  size_t buffers_size = 4096;
  bool buffering = true, request_buffering = true, ignore_client_abort = false,
       intercept_errors = false, intercept_404 = false, force_ranges = false, pass_trailers = false;
  bool change_buffering = true;  // X-Accel-Buffering may
  Complex limit_rate;            // bytes a second that are read of a buffered answer; 0: all
  uint32_t next_upstream = kFailError | kFailTimeout;
  int next_tries = 0;
  int64_t next_timeout = 0;
  uint32_t ignore_headers = 0;
  http::NameSet hidden;                     // headers of the answer
  std::shared_ptr<struct CacheConf> cache;  // null: off
};

// One try, for $upstream_*. `peer` is null where a new upstream has begun after an internal
// redirect.
struct UpstreamState {
  Str peer;
  int status = 0;
  int64_t connect_time = -1, header_time = -1, response_time = -1;  // ms
  int64_t response_length = 0, bytes_received = 0, bytes_sent = 0;
  UpstreamState* next = nullptr;
};
// r->ctx[kModUpstream], which internal redirects keep: the request's last upstream, and the tries
// of all of them.
class Upstream;
struct UpstreamCache;  // engine/upstream/cache.h
struct TlsByLua;       // engine/upstream/tls_lua.h
struct UpstreamRecord {
  Upstream* last_upstream = nullptr;
  UpstreamState *first = nullptr, *last = nullptr;
  static UpstreamRecord* of(const Request* r) {
    return static_cast<UpstreamRecord*>(r->ctx[kModUpstream]);
  }
};

// The head of the answer.
struct UpstreamHead {
  http::HeaderList list, trailers;
  int status = 0;
  Str status_line;  // "200 OK"
  Header *status_header = nullptr, *content_type = nullptr, *content_length = nullptr,
         *date = nullptr, *last_modified = nullptr, *etag = nullptr, *server = nullptr,
         *location = nullptr, *refresh = nullptr, *expires = nullptr, *x_accel_redirect = nullptr,
         *x_accel_expires = nullptr, *x_accel_limit_rate = nullptr, *transfer_encoding = nullptr,
         *www_authenticate = nullptr;
  bool no_cache = false, expired = false;  // what it says about being kept
  int64_t content_length_n = -1;
  int64_t last_modified_time = -1;
  bool connection_close = false, chunked = false;
};

constexpr int kInvalidHeader =
    40;  // a protocol's answer: this server speaks nonsense, try the next one

struct UpstreamProtocol {
  // Fills `u.request` with the head and, when it is at hand, the body. kOk or kError.
  int (*create_request)(Upstream& u);
  // Another server is asked: forgets what was parsed.
  void (*restart)(Upstream& u);
  // Parses [u.head_buf.pos, last), moves pos. kOk: the head is complete; kAgain, kError,
  // kInvalidHeader.
  int (*process_header)(Upstream& u);
  // The head is complete: says by u.length how much body comes.
  int (*begin_body)(Upstream& u);
  // Body bytes: gives what is content to u.pass(), counts u.length down. kOk or kError.
  int (*body)(Upstream& u, char* from, char* to);
  // A redirect that the answer asks for, seen from outside: true and the value is replaced.
  bool (*rewrite_location)(Upstream& u, Header* h, size_t prefix);
  // Set-Cookie on its way to the client; may be null.
  void (*rewrite_cookie)(Upstream& u, Header* h) = nullptr;
  // Where it is there, the request goes on while the answer comes, framed as the connection wants
  // it, instead of u.request: takes more of the client's body (null: none now) over, and gives what
  // is due as bytes. kOk: nothing is held back; kBusy: more when these are sent; kAgain: the server
  // takes no more for now; kError.
  int (*output)(Upstream& u, Chain* in, Chain** out) = nullptr;
};

// How a try has ended, as get_last_failure() numbers it.
constexpr int kPeerKeepalive = 1, kPeerNext = 2, kPeerFailed = 4;

// What balancer_by_lua wants of the next try, by ngx.balancer.
struct LuaChoice {
  sockaddr_storage addr{};
  socklen_t len = 0;  // 0: no server was set
  Str name, host;
  sockaddr_storage local{};
  socklen_t local_len = 0;
  Str local_name;
  int more_tries = 0, total_tries = 0;
  bool keepalive = false;
  unsigned keepalive_requests = 0;
  int64_t keepalive_timeout = 0;
  int last_state = 0;  // kPeerNext …; 0: there was no try
};

class Upstream final : public net::TlsOwner {
 public:
  // The request's from now on. `data` is the protocol's.
  static Upstream* create(Request* r, const UpstreamConf* conf, const UpstreamProtocol* protocol,
                          void* data);
  static Upstream* of(const Request* r) {
    UpstreamRecord* record = UpstreamRecord::of(r);
    return record ? record->last_upstream : nullptr;
  }
  // What a content handler returns: reads the client's body, then begins.
  static int run(Request* r);

  Request* r = nullptr;
  const UpstreamConf* conf = nullptr;
  const UpstreamProtocol* protocol = nullptr;
  void* data = nullptr;

  // Set before run(): whom to ask. Without a group, `host` is resolved.
  UpstreamGroup* group = nullptr;
  Str schema;  // "http://", for log lines
  bool ssl = false;
  Str host;
  int port = 0;
  Str uri;  // for log lines
  bool buffering = true;
  int64_t connect_timeout = 0, send_timeout = 0, read_timeout = 0;

  // balancer_by_lua
  LuaChoice* lua = nullptr;  // null: the group has none
  int tries_left() const { return walk_.tries; }
  int last_status() const { return previous_ ? previous_->status : 0; }
  int recreate_request() { return protocol->create_request(*this); }

  Chain* request = nullptr;  // pristine: each try sends copies of its buffers
  Buf* (*frame_body)(Upstream& u, Buf* b,
                     bool last) = nullptr;  // streamed bodies in chunks; null: as they are
  Buf head_buf;
  UpstreamHead head;
  UpstreamState* state = nullptr;
  void go_on_with_handshake() {
    if (stage_ == kHandshaking) handshake();
  }
  TlsByLua* tls_lua = nullptr;  // while the server's handshake is under way, where Lua takes part
  net::TlsSession* tls() const { return stream_ ? stream_->tls : nullptr; }
  net::Stream* stream() const { return stream_; }
  Str peer_name;
  bool peer_is_unix = false;
  UpstreamCache* cache = nullptr;  // null: not cached
  bool cacheable = false;          // the answer is to be kept
  Str method;                      // in place of the client's: a HEAD that is asked for as GET
  // Where the request goes, for the default cache key.
  Str cache_host, cache_uri;
  bool header_sent = false;
  bool upgraded = false;  // the protocol has changed with the head: bytes go both ways
  // The answer has ended where the server said, so the connection serves another request.
  bool keepalive = false;
  // Body bytes that must still come at least; -1: until the connection ends.
  int64_t length = -1;
  // Body bytes that go to the client, in a buffer of ours.
  void pass(char* from, char* to);
  // Sends what protocol->output() has. kOk: all of it; kAgain, kError.
  int push_out(Chain* in = nullptr);

  // Ends it: kOk, kError or a status; the request is finalized. kDeclined: only the upstream ends.
  void finalize(int rc);

 private:
  friend struct UpstreamEvents;
  friend struct UpstreamCache;
  // A buffer that the server's bytes are read into.
  struct Raw {
    char *start = nullptr, *end = nullptr, *fed = nullptr, *last = nullptr;
    int views = 0;
    Raw* next = nullptr;
  };
  // A piece of a Raw on its way to the client.
  struct View {
    Buf buf;
    Chain link;
    Raw* raw = nullptr;
    View* next = nullptr;
  };
  enum Stage : uint8_t {
    kIdle,
    kResolving,
    kBalancing,
    kConnecting,
    kHandshaking,
    kSending,
    kWaiting,
    kPassing,
    kUpgraded,
    kOver
  };

  // upstream_tls.cc
  const Log& tls_log() const override;
  const LogContext* tls_log_context() const override;
  int tls_fault_level() const override { return kLogErr; }
  void begin_handshake();
  Str ssl_name();
  void handshake();
  bool verified();
  bool reuses_sessions() const;
  bool use_certificate(const UpstreamTls& tls_conf, net::TlsSession* tls);
  void save_session();
  // upstream.cc
  void begin();
  void ask();
  void stop() { tear_down(); }
  void find_peers();
  void resolved(const net::ResolveResult& result);
  void connect();
  void chosen(int rc);
  bool open_stream();
  bool local_address(sockaddr_storage* addr, socklen_t* len);
  void connected();
  void read_head();
  void set_timer(int64_t ms);
  void clear_timers();
  KeepaliveKey connection_key() const;
  void close_stream();
  void on_readable();
  void on_writable();
  void on_timeout();
  void check_client();
  void watch_client();
  void watch_body();
  // upstream_balancer.cc
  void choose_by_lua();
  void chosen_by_lua(int rc);
  bool take_lua_idle();
  void put_lua_idle();
  bool lua_keeps() const;
  // A `keepalive` directive comes before enable_keepalive().
  bool lua_pool() const {
    return by_lua_ && lua->keepalive && (!group->keepalive || group->plan->keepalive_local);
  }
  // upstream_end.cc
  void next(uint32_t failure);
  bool has_peer() const { return walk_.current || by_lua_; }
  void free_peer(int how);
  void release_stream();
  void tear_down();
  // upstream_send.cc
  void append_out(const Chain* in, bool copy);
  int write_out();
  int take_client_body();
  int send_request();
  bool sending_goes_on(int rc);
  void send();
  bool duplex() const { return protocol->output != nullptr; }
  int write_frames(bool write);
  void send_frames(bool write);
  void pass_trailers();
  // upstream_head.cc
  bool test_next();
  bool intercept();
  bool copy_head();
  // upstream_upgrade.cc
  enum Way : uint8_t { kFromServer, kFromClient };
  struct Tunnel;
  void upgrade();
  bool pump(Way way);
  void pass_upgraded();
  // upstream_body.cc
  void send_response();
  void limit_reading();
  size_t readable(size_t room);
  void pass_body();
  bool give();
  void lose_client();
  bool over();
  bool take();
  int feed(Raw* raw);
  Raw* free_raw();
  int most_raws() const { return buffering ? conf->buffers_number + 1 : 1; }
  bool has_room() const;
  void recycle();
  void on_client_writable();

  net::Stream* stream_ = nullptr;
  Str tls_name_;
  UpstreamLink link_;
  bool cached_ = false;   // the connection was idle before
  bool delayed_ = false;  // proxy_limit_rate: nothing is read until the timer fires
  int64_t limit_rate_ = 0, reading_since_ = 0;  // bytes a second; in seconds
  net::Timer timer_{};
  net::Timer send_timer_{};  // of a request that goes on while the answer comes
  net::Resolution* resolution_ = nullptr;
  Arena::Cleanup* cleanup_ = nullptr;
  PeerWalk walk_;
  const sockaddr* addr_ = nullptr;  // of the server that is tried
  socklen_t addr_len_ = 0;
  sockaddr_storage local_{};
  socklen_t local_len_ = 0;
  Str local_name_;
  bool by_lua_ = false;  // Lua has chosen it
  UpstreamState* previous_ = nullptr;
  Stage stage_ = kIdle;
  int64_t start_ms_ = 0, begin_ms_ = 0;
  int64_t sent_ = 0;
  Chain *out_ = nullptr, **out_end_ = &out_;
  bool request_sent_ = false, body_sent_ = false, held_back_ = false;
  Tunnel* tunnels_ = nullptr;  // after an upgrade, one for each Way
  // body
  Raw *filling_ = nullptr, *free_raws_ = nullptr;
  int raws_ = 0;
  View *ready_ = nullptr, **ready_end_ = &ready_, *busy_ = nullptr, **busy_end_ = &busy_,
       *free_views_ = nullptr;
  bool eof_ = false, error_ = false, nonsense_ = false, client_lost_ = false,
       client_blocked_ = false, passing_ = false, drained_ = false;
  int64_t read_length_ = 0;
};

// upstream_head.cc: one header line of the answer has been parsed and is in u.head.list. kOk or
// kInvalidHeader (logged).
int upstream_header_line(Upstream& u, Header* h);
void register_upstream();  // its variables

// `, upstream: "http://127.0.0.1:80/uri"`, for http's hook.
char* append_upstream(const Request* r, char* p, char* end);

}  // namespace moonphase::engine
