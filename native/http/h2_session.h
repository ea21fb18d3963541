// HTTP/2 on a client's connection: nghttp2's session between the socket and the streams. nghttp2
// calls back while it reads and writes, and must not be called then: what its callbacks find waits
// in a list of events until it has returned.
#pragma once

#include <nghttp2/nghttp2.h>

#include <vector>

#include "http/client.h"

namespace moonphase::http {

class H2Stream;

constexpr size_t kH2FrameHead = 9;

inline unsigned max_streams(const ServerCore* s) {
  return static_cast<unsigned>(s->http2_max_concurrent_streams);
}

class H2Session {
 public:
  static constexpr Str kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  explicit H2Session(Client* client);
  ~H2Session();

  // --- the connection's events ---
  void start(Str bytes);  // what the client has sent already
  void on_readable();
  void on_writable();
  void on_read_timeout();
  void on_write_timeout();
  void drain();   // no new streams; ends with the last one
  void cut();     // the server goes: streams end with their requests, then the connection
  void closed();  // the connection is: nobody calls again

  // --- for its streams ---
  nghttp2_session* ng() const { return ng_; }
  const ServerCore* srv() const;
  // Frames that are due become bytes; they leave at the end of the turn.
  void pump();
  // Bytes that fit into the write buffer as one frame's payload.
  size_t room() const;
  void append(const void* data, size_t n) { std::memcpy(reserve(n), data, n); }
  char* reserve(size_t n);  // the next n bytes of the write buffer
  void post_flush();
  void post(H2Stream* s);  // an event of it is due
  void wait_for_room(H2Stream* s);
  void reset(H2Stream* s, uint32_t code);
  // The answer is complete: the client may keep the rest of the body to itself.
  void stop_body(H2Stream* s);
  void remove(H2Stream* s);  // its request is over
  bool lost() const { return lost_; }
  nghttp2_ssize read_data(int32_t id, size_t most, uint32_t* flags);

  Client* const client;
  unsigned processing = 0;

 private:
  static nghttp2_session_callbacks* callbacks();
  static nghttp2_option* options();
  // nghttp2's callbacks, as methods.
  int begin_headers(const nghttp2_frame* frame);
  int header(Str name, Str value);
  int frame_received(const nghttp2_frame* frame);
  int frame_begun(const nghttp2_frame_hd* hd);
  int data(int32_t id, Str bytes);
  int stream_closed(int32_t id, uint32_t code);
  void frame_sent(const nghttp2_frame* frame);
  int write_data(nghttp2_frame* frame, const uint8_t* head, size_t n);
  int fail(uint32_t code, const char* why);
  int refuse(int32_t id, uint32_t code, const char* why);
  H2Stream* stream(int32_t id) const;

  void receive(Str bytes);
  bool flush();
  void run_events();
  void end_turn();
  void finalize(uint32_t code);
  void linger();
  void read_lingering();
  void go_away(uint32_t code);
  void log_info(const char* text, int err = 0) const;

  nghttp2_session* ng_ = nullptr;
  H2Stream* streams_ = nullptr;
  H2Stream *events_ = nullptr, **last_event_ = &events_;
  H2Stream *writers_ = nullptr, **last_writer_ = &writers_;
  H2Stream* open_ = nullptr;  // whose header is being read
  net::Posted task_{};
  int32_t last_id_ = 0;
  std::vector<int32_t> unwanted_;  // streams whose body is to end when their answer has left
  int32_t ended_[64] = {};         // streams that were reset here
  unsigned next_ended_ = 0;
  bool inside_ = false;  // nghttp2 is
  bool ending_ = false;  // end_turn sees to everything
  bool idle_ = true;     // no request: counted as waiting
  bool going_ = false;   // GOAWAY is sent
  bool lost_ = false;    // nothing goes out any more
  bool lingering_ = false, finalizing_ = false, settings_acked_ = false, paused_ = false;
  int64_t lingering_until_ = 0;
  uint32_t failure_ = 0;  // of a callback: the code for GOAWAY
  bool failed_ = false;
  // nginx's measures against floods.
  unsigned new_streams_ = 0, refused_streams_ = 0, priority_left_ = 0;
  uint64_t idle_turns_ = 0, total_bytes_ = 0, payload_bytes_ = 0;
};

}  // namespace moonphase::http
