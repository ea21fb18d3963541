// A client's connection (http/client.h is the one over a socket; Node's own http server has
// another): reads requests, writes answers, keeps alive, lingers, closes. One request at a time;
// pipelined ones wait in the read buffer, and their answers leave in one write.
#pragma once

#include "base/buf.h"
#include "http/proxy_protocol.h"
#include "http/request.h"
#include "net/listener.h"
#include "net/stream.h"
#include "net/tls.h"

namespace moonphase::http {

class Connection;

// What http asks of the engine above it (http includes nothing of it). Set once per server.
struct ServerHooks {
  // A request's line and headers are complete and valid: run it. `r->srv`, `r->loc` are the chosen
  // server's.
  void (*process)(Request* r) = nullptr;
  // Line or headers are bad: answer `status` (400, 405, 414, 494, 495…, 501, 505) through the
  // engine's error pages.
  void (*reject)(Request* r, int status) = nullptr;
  // A new main request: generation, log, defaults.
  void (*init)(Request* r) = nullptr;
  // The request's memory is about to go; unless r->logging is set afterwards, then it goes on
  // without its connection (http/detached.h).
  void (*destroy)(Request* r) = nullptr;
  // It does: `c` stands for the connection from now on.
  void (*detached)(Request* r, Connection* c) = nullptr;
  // nginx's ngx_http_finalize_request, for what ends inside http (body read errors, clients that
  // went away).
  void (*finalize)(Request* r, int rc) = nullptr;
  // A header filter answers with an error instead (412): ngx_http_filter_finalize_request.
  int (*filter_finalize)(Request* r, int status) = nullptr;
  // The text of a value with variables; false: failed. http evaluates literals itself.
  bool (*evaluate)(Request* r, const Complex& value, Str* out) = nullptr;
  // A subrequest's turn to send has come (postpone filter): run its write_event_handler soon.
  void (*post_request)(Request* r) = nullptr;
  // After every event handler that http has called: posted requests run now. May be null.
  void (*run_posted)(Connection* c) = nullptr;
  // TLS handshakes in Lua; null: nothing of the kind. kOk, kError, or kAgain: continue_handshake
  // follows.
  Rc (*tls_client_hello)(Connection* c, int* alert) = nullptr;
  Rc (*tls_certificate)(Connection* c) = nullptr;
  void (*tls_new_session)(Connection* c, SSL_SESSION* session) = nullptr;
  SSL_SESSION* (*tls_get_session)(Connection* c, Str id) = nullptr;
  // The connection goes, and with it `c->tls_lua`.
  void (*tls_closed)(Connection* c) = nullptr;
  // What stands between "request" and "host" in log lines: `, upstream: "…"`. May be null.
  char* (*append_log)(const Request* r, char* p, char* end) = nullptr;
  // ServerName kRegex: the names' regexes live in the engine. Returns the server or null.
  const ServerCore* (*match_regex_name)(const ListenConf* listen, Request* r, Str host) = nullptr;
  // Of a request whose content another server gives: whether filters of its location, and log
  // handlers or logs, have something to do with the answer.
  bool (*filters_answer)(const Request* r) = nullptr;
  bool (*logs_answer)(const Request* r) = nullptr;
  void* data = nullptr;
};

// A line of an answer's head; the name in lower case.
struct HeadField {
  Str name, value;
};

struct Stats {  // stub_status, and ngx_stat_* for Lua
  int64_t accepted = 0, handled = 0, requests = 0, active = 0, reading = 0, writing = 0,
          waiting = 0;
};

// One running HTTP server: its listeners share it. Owned by the engine's runtime.
struct HttpServer {
  explicit HttpServer(Stats& counted) : stats(counted) {}
  net::Loop* loop = nullptr;
  const uint64_t serial = next_serial();  // no other server of the process has or had it
  ServerHooks hooks;
  Stats& stats;
  uint64_t next_connection = 1;
  bool closing = false;            // quitting or reloading: no keep-alive any more
  Connection* first = nullptr;     // all connections
  Connection* detached = nullptr;  // requests whose connections have gone on
  int64_t connections = 0, max_connections = 512;
  const char* server_version = "nginx/1.31.2";
  bool embedded = false;

 private:
  static uint64_t next_serial();
};

// Takes an accepted descriptor.
void accept_connection(HttpServer* server, const ListenConf* listen, int fd, const sockaddr* peer,
                       socklen_t len);
// Closes idle connections; busy ones close after their request (QUIT, reload).
void drain_connections(HttpServer* server);
// Closes all that is left of them, with the requests, at once.
void cut_connections(HttpServer* server);

class Connection : public LogContext, public net::TlsOwner {
 public:
  HttpServer* server = nullptr;
  const ListenConf* listen = nullptr;
  net::Stream* stream = nullptr;
  Log log;
  Request* request = nullptr;  // the main one; null between requests
  Request* active = nullptr;  // whose output goes out now and who gets the events (nginx's c->data)
  Request* current = nullptr;  // whom log lines mention (a subrequest while it runs)
  uint64_t requests = 0;
  int64_t start_ms = 0;
  sockaddr_storage peer{};
  socklen_t peer_len = 0;
  sockaddr_storage local{};  // filled on demand by local_address()
  socklen_t local_len = 0;
  Str addr_text;  // "127.0.0.1", "unix:"
  bool error = false, timedout = false, destroyed = false, reading_tested = false, ssl = false;
  bool need_last_buf = false, tcp_nodelay_set = false;
  std::shared_ptr<const ProxyProtocol> proxy_protocol;  // null: no such header, or it names nobody
  const ServerCore* tls_server = nullptr;  // chosen by the name that the handshake asked for
  void* tls_lua = nullptr;                 // engine/handshake.cc: handlers of the handshake
  // A request without a client that runs such a handler: whose handshake it is.
  Connection* handshake_of = nullptr;
  // The TLS session of this connection or of the one above; null: plain.
  net::TlsSession* tls() const {
    const Connection* c = handshake_of ? handshake_of : this;
    return c->stream ? c->stream->tls : nullptr;
  }
  const Log& tls_log() const override { return log; }
  const LogContext* tls_log_context() const override { return this; }
  // The peer's protocol tells heads and bodies apart by itself (HTTP/2): heads leave as fields, no
  // chunks are made, and a request's body ends where `recv` gives 0.
  bool framed = false;
  int64_t sent = 0;  // bytes sent for the current request, $bytes_sent
  unsigned buffered_bits = 0;

  // What is unread comes first, then the socket. As Stream::recv.
  virtual ssize_t recv(void* buf, size_t n) = 0;
  // The unread bytes that nginx would have in its header buffer by now; `room`: how many more would
  // fit behind them. The body reader takes them as they are.
  virtual Str preread(size_t* room) const = 0;
  // Puts bytes back in front of what `recv` will give (a body reader that took too much).
  virtual void give_back(Str bytes) = 0;
  // Bytes already read behind the header: the body reader and raw sockets take them first.
  Str unread() const { return {rpos, static_cast<size_t>(rlast - rpos)}; }
  // Takes them where they are: they stay valid as long as the request.
  void consume(size_t n) {
    rpos += n;
    rfloor = rpos;
  }
  char *rbuf = nullptr, *rpos = nullptr, *rlast = nullptr, *rend = nullptr;
  char* rfloor = nullptr;  // what lies before it belongs to the request

  // Into the server's list and count of connections, and out of them.
  void enter_server();
  void leave_server();
  // The other end is that of `c`: who it is, where it came in, and what it came with.
  void take_peer(const Connection& c);

  // Output. `send` takes what it can of the chain and returns the rest (null: all taken; in a turn
  // that still has pipelined requests small answers are only copied and leave together). kIoError
  // sets `error`. `limit`: at most so many bytes now; 0: no limit. Chain links are left alone;
  // buffers advance.
  virtual Chain* send(Chain* in, int64_t limit) = 0;
  virtual bool flush() = 0;  // writes what `send` copied; false: not all could go
  bool output_pending() const { return wlast != wpos; }
  // Where it is framed: the head of the answer. `end`: no body follows. kOk or kError.
  virtual int send_head(Request* r, const HeadField* fields, size_t n, bool end) {
    (void)r, (void)fields, (void)n, (void)end;
    return kError;
  }
  char *wbuf = nullptr, *wpos = nullptr, *wlast = nullptr, *wend = nullptr;
  bool corked = false;
  bool write_delayed = false;  // limit_rate: not before the write timer fires

  // Reading and writing events while a request runs go to the active request's read_event_handler
  // and write_event_handler. Reading goes on until it is switched off; one writable event follows
  // each want_write(true).
  // The rest of the request's body is of no use; true: the connection sees to it.
  virtual bool drop_body() { return false; }
  virtual void want_read(bool on) = 0;
  virtual void want_write(bool on) = 0;
  // 0: none. Lazy: a timer in the heap may fire early and is set again; ask the deadline, not the
  // timer.
  void set_read_timeout(int64_t ms);
  void set_write_timeout(int64_t ms);
  int64_t read_deadline = 0, write_deadline = 0;  // monotonic ms; 0: none
  net::Timer read_timer{}, write_timer{};
  bool read_timedout = false, write_timedout = false;
  bool eof = false;  // the client has closed its side

  // Somebody else's server has the connection (http/host.h): it writes the head in its own form and
  // marks where bodies end; continues and discards by itself.
  bool hosted = false;
  bool once = false;  // no other request follows
  // Whether the client is there: bytes that wait (taken by nobody), kIoAgain: none, 0: it has
  // closed its side, kIoError: io_error().
  virtual ssize_t peek() = 0;
  virtual int io_error() const { return stream ? stream->error() : 0; }
  // No handler gives the main request's content: true when whoever has the connection does, and
  // calls again with it.
  virtual bool pass_on(Request*) { return false; }
  // Nothing new is to begin here; what is idle goes.
  virtual void drain() {}
  // The server goes, its requests are gone: whatever this is at (a handshake, a first request that
  // may be on its way, HTTP/2 without streams, lingering), it closes now.
  virtual void cut() {}

  virtual const sockaddr* local_address() = 0;  // null: not known
  Connection *prev = nullptr, *next = nullptr;
  // finish_request and close_connection_with_request, below.
  virtual void finish(Request* r) = 0;
  virtual void abandon(Request* r, int rc) = 0;
  virtual ~Connection() = default;

 protected:
  Connection() = default;
  // True when the deadline has passed; else its timer is set for what is left of it.
  bool is_due(net::Timer* t, int64_t& deadline);
  // The read or write event handler of the request that is active, and what it has posted.
  void run_handler(EventHandler Request::*handler);
};

// A new request of the connection, in its slot: counted, and the connection's from now on.
Request* open_request(Connection* c, struct RequestSlot* slot);
// Its head has been read: it is counted as one that is answered.
void head_is_read(Request* r);
// Its end: counted and logged. False: it still logs, and goes on without its connection
// (detach_request).
bool retire_request(Connection* c, Request* r, int rc);
// A handler that the handshake waited for is done.
void continue_handshake(Connection* c);
// The end of a main request, called by the engine's lifecycle when its count is 0 or the connection
// is lost: keep-alive or lingering or close, `r` and its arena are freed. rc is what the request
// ended with.
void finish_request(Request* r);  // keep-alive, lingering or close by r's flags
void close_connection_with_request(Request* r, int rc);  // error, timeout: at once
// keepalive_timeout, _requests, _time and _disable of r->loc clear r->keepalive; the engine's
// update_location calls it.
void limit_keepalive(Request* r);
// For handlers with nothing to read while they wait: notices a client that goes away.
// `r->read_event_handler` may be one of these.
void block_reading(Request* r);
void test_reading(Request* r);  // ends the request with 499 when the client closed, through the
                                // engine's finalizer

}  // namespace moonphase::http
