// HTTP/2 on a connection to a server, one request at a time: nghttp2's session between the bytes of
// the connection and the fields and data of the answer. What a server may not send is refused in
// the words of nginx's grpc module.
#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>

#include "base/buf.h"
#include "http/connection.h"
#include "net/stream.h"

namespace moonphase::http {

// It goes with its stream, and stays with it while the connection is idle.
class H2Client final : public net::Stream::Attachment {
 public:
  // Who gets the answer, while take() runs.
  struct Sink {
    // A field of the head, then of the trailers. False: nonsense (logged).
    bool (*field)(void* p, Str name, Str value);
    // All of them were there. False: the same.
    bool (*fields_end)(void* p);
    // A piece of the bytes that take() got. False: the same.
    bool (*data)(void* p, char* from, char* to);
    void* p;
  };
  H2Client();
  ~H2Client() override;

  // A request for which the connection is from now on; what is left of the one before is forgotten.
  // Fields stay where they are until they are sent. False: there is no number left for it.
  bool begin(Request* r, const Sink& sink, const HeadField* fields, size_t n, bool body);
  // More of the body; its last buffer says so. Links are taken over, buffers used up.
  void add_body(Chain* in);
  // What is due becomes bytes, which *out leads to until they are sent. kOk: nothing is held back;
  // kBusy: there is more when these are sent; kAgain: the server takes no more for now; kError.
  int fill(Chain** out);

  enum Taken : uint8_t { kMore, kHead, kNonsense };
  // The server's bytes: kMore: all are used up; kHead: the head of the answer has ended, and what
  // comes behind it is still in *bytes; kNonsense (logged). A head that must be followed by another
  // one (103) is not counted: see expect_head().
  Taken take(Str* bytes);
  // The head was not the one.
  void expect_head() { state_ = kInHead; }

  bool in_fields() const { return in_fields_; }  // of a head that has begun
  bool answered() const { return state_ == kAnswered; }
  bool between_frames() const { return head_got_ == 0; }
  bool ends() const { return end_stream_; }  // what is being read ends the answer
  // Both sides have said everything: another request may follow.
  bool reusable() const {
    return state_ == kAnswered && between_frames() && output_closed_ && !goaway_ && !out_.size() &&
           !body_;
  }

 private:
  static nghttp2_session_callbacks* callbacks();
  static nghttp2_option* options();
  int frame_received(const nghttp2_frame* frame);
  ssize_t read_body(char* to, size_t most, uint32_t* flags);
  bool feed(const char* from, size_t n);
  bool frame_begins();
  bool frame_fits();
  bool frame_ends();
  void log_nonsense(const char* text) const;
  bool nonsense(const char* format, ...) __attribute__((format(printf, 2, 3)));
  void append(const uint8_t* from, size_t n);

  nghttp2_session* ng_ = nullptr;
  Request* r_ = nullptr;
  Sink sink_{};
  int32_t id_ = 0;
  enum : uint8_t { kInHead, kInBody, kAnswered } state_ = kInHead;
  bool in_fields_ = false, end_stream_ = false, output_closed_ = false, deferred_ = false,
       goaway_ = false, reset_ = false, failed_ = false;
  // The frame that is being read.
  uint8_t head_[9];
  size_t head_got_ = 0, rest_ = 0;
  size_t length_ = 0;
  uint8_t type_ = 0, flags_ = 0;
  int32_t stream_ = 0;
  // Sending.
  Chain *body_ = nullptr, **body_end_ = &body_;
  std::unique_ptr<char[]> memory_;
  Buf out_;
  Chain link_;
};

}  // namespace moonphase::http
