// The inside of a Connection: what only http's own files need.
#pragma once

#include "http/connection.h"
#include "http/parse.h"
#include "http/pool.h"

namespace moonphase::http {

class H2Session;

class Client final : public Connection {
 public:
  enum State : uint8_t {
    kHandshake,
    kIdle,
    kLine,
    kHeaders,
    kProcessing,
    kLingering,
    kHttp2,
    kClosed
  };

  static void accept(HttpServer* server, const ListenConf* listen, int fd, const sockaddr* peer,
                     socklen_t len);
  ~Client() override;

  char* append(char* p, char* end) const override;
  ssize_t recv(void* buf, size_t n) override;
  void give_back(Str bytes) override;
  ssize_t peek() override;
  void drain() override;
  void cut() override;
  Str preread(size_t* room) const override;
  Chain* send(Chain* in, int64_t limit) override;
  bool flush() override;
  void want_read(bool on) override { stream->want_read(on); }
  void want_write(bool on) override { stream->want_write(on); }
  const sockaddr* local_address() override;
  void finish(Request* r) override;
  void abandon(Request* r, int rc) override;
  Rc tls_client_hello(int* alert) override;
  Rc tls_server_name(Str name, int* alert) override;
  bool tls_http2() const override;
  Rc tls_certificate() override;
  void tls_new_session(SSL_SESSION* session) override;
  SSL_SESSION* tls_get_session(Str id) override;

  // client_read.cc: bytes to requests
  void on_readable();
  void process_input();  // everything that is in the buffer, then settle()
  void post_input();     // the same from outside of it, soon
  // client_tls.cc: the handshake
  void handshake();
  // client_proxy_header.cc; false: not all there yet, or the connection is closed
  bool take_proxy_header();
  bool peek_proxy_header();
  // The first bytes, which stay unread. 0: there are none yet, or the connection is closed.
  ssize_t peek_or_close(void* buf, size_t n);
  // The status that a request over (or without) TLS gets instead; 0: none.
  int check_tls(Request* r);
  // client.cc: life
  void on_writable();
  void on_read_timeout();
  void on_write_timeout();
  void keepalive(Request* r);
  void send_at_once(const CoreConf* loc);  // tcp_nodelay
  void linger(Request* r);
  void free_request(Request* r, int rc);
  void detach();  // detached.cc
  void close();
  // Small answers may wait for the ones behind them: more requests are in the buffer.
  bool may_cork() const {
    const HeadersIn& in = request->headers_in;
    return rpos < rlast && in.content_length_n <= 0 && !in.chunked;
  }

  State state = kIdle;
  bool in_input = false;
  bool read_full = false;  // the last read filled its buffer: there may be more
  bool pipelined = false;  // a request began with bytes that the one before it had left
  RequestSlot* slot = nullptr;
  RequestSlot* ended = nullptr;  // of a request that process_input has run to its end
  Pool* const pool = Pool::of_thread();
  const Clock& clock = now();
  net::Posted input_task{};
  std::unique_ptr<H2Session> h2;  // with state kHttp2

 private:
  // kOk: the unread bytes are HTTP/2's preface, kAgain: its beginning, kDeclined: not.
  Rc test_preface() const;
  void start_http2();
  void end_handshake();
  bool in_handshake_ = false, hello_seen_ = false;
  bool proxy_header_due_ = false;
  bool fill();  // reads once; false: nothing came (or the end: closed then)
  void begin_request();
  int parse_line();  // kOk, kAgain (needs bytes), kDone (the request has ended)
  int parse_headers();
  int finish_line();
  int finish_headers();
  bool next_buffer(
      bool line);  // nginx's large_client_header_buffers, by counting; false: too large
  void keep_line();
  void reject(int status);
  void process();
  void make_room();
  void move_request(char* to);
  void recycle_ended() {
    if (ended) Pool::recycle_slot(std::exchange(ended, nullptr));
  }
  void settle();
  void read_lingering();

  LineParser line_;
  HeaderParser head_;
  // nginx reads into buffers of a configured size and gives up when they are used up. Here all
  // bytes of a request are in one place; `window_` is where nginx's current buffer would end,
  // counted from rbuf.
  size_t window_ = 0;
  int large_used_ = 0;
  unsigned header_count_ = 0;
  char* request_start_ = nullptr;
  char addr_buf_[64];
};

// The end of a log line: ", client: …, server: …, request: …".
char* append_request(const Connection& c, Str line, char* p, char* end);

inline Client* client(Connection* c) { return static_cast<Client*>(c); }

}  // namespace moonphase::http
