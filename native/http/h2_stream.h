// A request over HTTP/2: what the engine takes for a connection of its own. Its frames go through
// the session of the client's connection (http/h2_session.h).
#pragma once

#include "http/client.h"

namespace moonphase::http {

class H2Session;

class H2Stream final : public Connection {
 public:
  H2Stream(H2Session* session, int32_t id);
  ~H2Stream() override;

  // --- what the engine sees ---
  char* append(char* p, char* end) const override;
  ssize_t recv(void* buf, size_t n) override;
  void give_back(Str) override {}  // bodies end with their stream: nothing is ever too much
  Str preread(size_t* room) const override {
    *room = 0;
    return {};
  }
  Chain* send(Chain* in, int64_t limit) override;
  int send_head(Request* r, const HeadField* fields, size_t n, bool end) override;
  bool flush() override { return true; }
  void want_read(bool on) override;
  void want_write(bool on) override;
  ssize_t peek() override { return error ? net::kIoError : net::kIoAgain; }
  int io_error() const override { return 0; }
  bool drop_body() override;
  const sockaddr* local_address() override;
  void finish(Request* r) override { end(r, 0); }
  void abandon(Request* r, int rc) override { end(r, rc); }

  // --- what the session does with it ---
  // h2_head.cc: a header field. kOk, or kError: it exceeds what the connection may send.
  int field(Str name, Str value, bool* empty_name);
  // The header is complete: runs or refuses the request.
  void begin();
  // Bytes of the body; the session tells the peer when they are used.
  void take(Str data);
  // Read by nghttp2 when the peer's windows have room: how many bytes go into the next frame.
  ssize_t next_length(size_t most, uint32_t* flags);
  // Puts them behind the frame's header.
  bool put_payload(size_t n);
  void readable();
  void writable();
  // The peer or the connection is gone.
  void fail();

  H2Session* session;
  const int32_t id;
  bool begun = false;
  bool open = true;         // nghttp2 knows the stream
  bool in_closed = false;   // the client has ended it
  bool out_closed = false;  // we have
  bool skip_data = false;
  bool gone = false;  // the request is over
  // Waiting for its turn in H2Session::run_events.
  bool event_begin = false, event_read = false, event_write = false, queued = false;
  H2Stream* next_event = nullptr;
  H2Stream* next_writer = nullptr;
  bool waits_for_room = false;
  H2Stream *prev_stream = nullptr, *next_stream = nullptr;

 private:
  int pseudo(Str name, Str value);
  int path(Str value);
  int method(Str value);
  int scheme(Str value);
  int authority(Str value);
  bool valid(Str name, Str value, bool* invalid);
  int add_header(Str name, Str value);
  int check_head();
  int refuse(int status, const char* why);
  void end(Request* r, int rc);
  bool submit_trailers();
  void on_timeout(bool reading);

  RequestSlot* slot_;
  Pool* pool_;  // outlives the session
  // Sending: the chain of the call that is going on, and why its rest was left.
  Chain* out_ = nullptr;
  int64_t limit_ = 0;
  enum : uint8_t { kNothing, kRoom, kWindow } blocked_ = kNothing;
  bool head_sent_ = false;
  bool deferred_ = false;  // nghttp2 asks no more until resumed
  bool reading_ = false, writing_ = false;
  bool window_raised_ = false;
  // Reading the header.
  int status_ = 0;  // what it is refused with
  bool regular_seen_ = false;
  unsigned header_count_ = 0;
  size_t header_left_;
  Str authority_;
  struct Cookie {
    Str value;
    Cookie* next;
  };
  Cookie* cookies_ = nullptr;
  Cookie** last_cookie_ = &cookies_;
};

}  // namespace moonphase::http
