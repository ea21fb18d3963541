#include "http/h2_client.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace moonphase::http {

namespace {

constexpr uint32_t kMaxWindow = 0x7fffffff;
constexpr size_t kMaxFrame = 16384;
constexpr size_t kFrameHead = 9;
constexpr size_t kFull = 32 * 1024;  // bytes that are not sent yet: others have their turn
constexpr size_t kFirstRoom = 2048;

}  // namespace

H2Client::H2Client() : link_{&out_} {
  nghttp2_session_client_new2(&ng_, callbacks(), this, options());
  if (!ng_) std::abort();
  static constexpr nghttp2_settings_entry kSettings[] = {
      {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 0},
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kMaxWindow},
  };
  nghttp2_submit_settings(ng_, NGHTTP2_FLAG_NONE, kSettings, std::size(kSettings));
  nghttp2_session_set_local_window_size(ng_, NGHTTP2_FLAG_NONE, 0, kMaxWindow);
  out_.temporary = true;
}

H2Client::~H2Client() { nghttp2_session_del(ng_); }

bool H2Client::nonsense(const char* format, ...) {
  if (failed_) return false;
  failed_ = true;
  char text[512];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  log_nonsense(text);
  return false;
}

void H2Client::log_nonsense(const char* text) const {
  log_write(r_->conn->log, r_->conn, kLogErr, 0, "upstream sent %s", text);
}

// --- the request ---

bool H2Client::begin(Request* r, const Sink& sink, const HeadField* fields, size_t n, bool body) {
  r_ = r;
  sink_ = sink;
  state_ = kInHead;
  end_stream_ = reset_ = false;
  body_ = nullptr;
  body_end_ = &body_;
  output_closed_ = !body;
  deferred_ = false;
  auto* nv = static_cast<nghttp2_nv*>(r->pool->alloc(n * sizeof(nghttp2_nv)));
  auto bytes = [](Str s) { return reinterpret_cast<uint8_t*>(const_cast<char*>(s.data())); };
  for (size_t i = 0; i < n; ++i)
    nv[i] = {bytes(fields[i].name), bytes(fields[i].value), fields[i].name.size(),
             fields[i].value.size(), NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
  nghttp2_data_provider2 provider{};
  provider.read_callback = [](nghttp2_session*, int32_t, uint8_t* to, size_t most, uint32_t* flags,
                              nghttp2_data_source*, void* self) -> nghttp2_ssize {
    return static_cast<H2Client*>(self)->read_body(reinterpret_cast<char*>(to), most, flags);
  };
  id_ = nghttp2_submit_request2(ng_, nullptr, nv, n, body ? &provider : nullptr, nullptr);
  return id_ > 0;
}

void H2Client::add_body(Chain* in) {
  if (!in) return;
  *body_end_ = in;
  while (*body_end_) body_end_ = &(*body_end_)->next;
  if (!deferred_) return;
  deferred_ = false;
  nghttp2_session_resume_data(ng_, id_);
}

ssize_t H2Client::read_body(char* to, size_t most, uint32_t* flags) {
  size_t n = 0;
  while (body_ && !output_closed_) {
    Buf* b = body_->buf;
    const size_t part = std::min(most - n, static_cast<size_t>(b->size()));
    if (part && b->in_memory()) {
      put_bytes(to + n, {b->pos, part});
      b->pos += part;
    } else if (part) {
      const ssize_t got = pread(b->file->fd, to + n, part, b->file_pos);
      if (got != static_cast<ssize_t>(part)) {
        log_write(r_->conn->log, r_->conn, kLogAlert, got < 0 ? errno : 0,
                  "pread() has read only %lld of %lld from \"%.*s\"", static_cast<long long>(got),
                  static_cast<long long>(part), STR(b->file->name));
        failed_ = true;
        return NGHTTP2_ERR_CALLBACK_FAILURE;
      }
      b->file_pos += static_cast<off_t>(part);
    }
    n += part;
    if (b->size()) break;
    output_closed_ = b->last_buf;
    body_ = body_->next;
  }
  if (!body_) body_end_ = &body_;
  if (output_closed_) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
  } else if (!n) {
    deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  return static_cast<ssize_t>(n);
}

void H2Client::append(const uint8_t* from, size_t n) {
  if (static_cast<size_t>(out_.end - out_.last) < n) {
    const auto used = static_cast<size_t>(out_.size());
    auto room = std::max(static_cast<size_t>(out_.end - out_.start) * 2, kFirstRoom);
    while (room < used + n) room *= 2;
    auto bigger = std::make_unique<char[]>(room);
    put_bytes(bigger.get(), out_.bytes());
    memory_ = std::move(bigger);
    out_.start = out_.pos = memory_.get();
    out_.last = out_.pos + used;
    out_.end = out_.start + room;
  }
  out_.last = put_bytes(out_.last, {reinterpret_cast<const char*>(from), n});
}

int H2Client::fill(Chain** out) {
  if (!out_.size()) out_.pos = out_.last = out_.start;
  nghttp2_ssize n = 0;
  while (static_cast<size_t>(out_.size()) < kFull) {
    const uint8_t* bytes;
    n = nghttp2_session_mem_send2(ng_, &bytes);
    if (n <= 0) break;
    append(bytes, static_cast<size_t>(n));
  }
  *out = out_.size() ? &link_ : nullptr;
  link_.next = nullptr;
  if (n < 0 || failed_) return kError;
  if (n > 0) return kBusy;
  return body_ ? int{kAgain} : int{kOk};
}

// --- the answer ---

bool H2Client::feed(const char* from, size_t n) {
  const nghttp2_ssize used =
      nghttp2_session_mem_recv2(ng_, reinterpret_cast<const uint8_t*>(from), n);
  if (failed_) return false;
  const bool fine = used == static_cast<nghttp2_ssize>(n) &&
                    (goaway_ || nghttp2_session_check_request_allowed(ng_));
  if (fine) return true;
  if (used == NGHTTP2_ERR_FLOODED)
    return nonsense("too many %s frames", type_ == NGHTTP2_PING ? "ping" : "settings");
  if (type_ == NGHTTP2_HEADERS || type_ == NGHTTP2_CONTINUATION)
    return nonsense("invalid %s", state_ == kInHead ? "header" : "trailer");
  return nonsense("http2 frame that is not allowed: %d", type_);
}

H2Client::Taken H2Client::take(Str* bytes) {
  while (!bytes->empty()) {
    if (head_got_ < kFrameHead) {
      const size_t n = std::min(kFrameHead - head_got_, bytes->size());
      put_bytes(reinterpret_cast<char*>(head_) + head_got_, bytes->substr(0, n));
      head_got_ += n;
      bytes->remove_prefix(n);
      if (head_got_ < kFrameHead) break;
      if (!frame_begins() || !feed(reinterpret_cast<const char*>(head_), kFrameHead))
        return kNonsense;
    } else {
      const size_t n = std::min(rest_, bytes->size());
      rest_ -= n;
      const char* from = bytes->data();
      bytes->remove_prefix(n);
      if (!feed(from, n)) return kNonsense;
    }
    if (rest_) continue;
    head_got_ = 0;
    const bool head = state_ == kInHead && in_fields_;
    if (!frame_ends()) return kNonsense;
    if (head && !in_fields_ && state_ != kInHead) return kHead;
  }
  return kMore;
}

// The head of a frame is there: may it come now?
bool H2Client::frame_begins() {
  length_ = rest_ = static_cast<size_t>(head_[0] << 16 | head_[1] << 8 | head_[2]);
  type_ = head_[3];
  flags_ = head_[4];
  stream_ = (head_[5] & 0x7f) << 24 | head_[6] << 16 | head_[7] << 8 | head_[8];
  if (length_ > kMaxFrame) return nonsense("too large http2 frame: %zu", length_);
  if ((type_ == NGHTTP2_CONTINUATION) != in_fields_ || (type_ == NGHTTP2_DATA && state_ == kInHead))
    return nonsense("unexpected http2 frame: %d", type_);
  if (stream_ != id_ && (stream_ || type_ == NGHTTP2_DATA))
    return nonsense(
        type_ == NGHTTP2_DATA ? "data frame for unknown stream %d" : "frame for unknown stream %d",
        stream_);
  if (stream_ && state_ == kAnswered && type_ != NGHTTP2_RST_STREAM &&
      type_ != NGHTTP2_WINDOW_UPDATE)
    return nonsense("frame for closed stream %d", stream_);
  if (!frame_fits()) return false;
  if (type_ == NGHTTP2_HEADERS) {
    in_fields_ = true;
    end_stream_ = flags_ & NGHTTP2_FLAG_END_STREAM;
  }
  return true;
}

// Is its length what its type says?
bool H2Client::frame_fits() {
  const bool ack = flags_ & NGHTTP2_FLAG_ACK;
  const char* name = nullptr;
  bool fits = true, without_stream = true;
  switch (type_) {
    case NGHTTP2_DATA:
      return !(flags_ & NGHTTP2_FLAG_PADDED) || length_ || nonsense("too short http2 frame");
    case NGHTTP2_HEADERS:
      name = "headers";
      without_stream = false;
      fits = length_ >= ((flags_ & NGHTTP2_FLAG_PADDED ? 1u : 0u) +
                         (flags_ & NGHTTP2_FLAG_PRIORITY ? 5u : 0u));
      break;
    case NGHTTP2_RST_STREAM:
      name = "rst stream";
      without_stream = false;
      fits = length_ == 4;
      break;
    case NGHTTP2_WINDOW_UPDATE:
      name = "window update";
      without_stream = false;
      fits = length_ == 4;
      break;
    case NGHTTP2_GOAWAY:
      name = "goaway";
      fits = length_ >= 8;
      break;
    case NGHTTP2_SETTINGS:
      name = "settings";
      if (!stream_ && ack && length_)
        return nonsense("settings frame with ack flag and non-zero length: %zu", length_);
      fits = length_ % 6 == 0;
      break;
    case NGHTTP2_PING:
      name = "ping";
      fits = length_ == 8;
      break;
    case NGHTTP2_PUSH_PROMISE:
      return nonsense("unexpected push promise frame");
    default:
      return true;
  }
  if (without_stream && stream_)
    return nonsense("%s frame with non-zero stream id: %d", name, stream_);
  if (!fits) {
    nonsense("%s frame with invalid length: %zu", name, length_);
    if (type_ == NGHTTP2_HEADERS)
      log_nonsense(state_ == kInHead ? "invalid header" : "invalid trailer");
    return false;
  }
  if (type_ == NGHTTP2_PING && ack) return nonsense("ping frame with ack flag");
  return true;
}

// All of a frame is there, and nghttp2 has said what was in it.
bool H2Client::frame_ends() {
  const bool fields = type_ == NGHTTP2_HEADERS || type_ == NGHTTP2_CONTINUATION;
  if (fields && (flags_ & NGHTTP2_FLAG_END_HEADERS)) {
    in_fields_ = false;
    if (state_ == kInBody && !end_stream_) return nonsense("trailer without end stream flag");
    state_ = end_stream_ ? kAnswered : kInBody;
    if (!sink_.fields_end(sink_.p)) return false;
  }
  if (type_ == NGHTTP2_DATA && (flags_ & NGHTTP2_FLAG_END_STREAM)) state_ = kAnswered;
  return true;
}

int H2Client::frame_received(const nghttp2_frame* frame) {
  const auto fail = [this](const char* what, uint32_t code) {
    if (!failed_) log_write(r_->conn->log, r_->conn, kLogErr, 0, "upstream %s %u", what, code);
    failed_ = true;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  };
  switch (frame->hd.type) {
    case NGHTTP2_RST_STREAM: {
      const uint32_t code = frame->rst_stream.error_code;
      if (state_ != kAnswered || code) return fail("rejected request with error", code);
      if (reset_)
        return fail("sent frame for closed stream", static_cast<uint32_t>(frame->hd.stream_id));
      reset_ = true;
      return 0;
    }
    case NGHTTP2_GOAWAY:
      if (frame->goaway.last_stream_id < id_)
        return fail("sent goaway with error", frame->goaway.error_code);
      goaway_ = true;
      return 0;
  }
  return 0;
}

// --- tables ---

nghttp2_session_callbacks* H2Client::callbacks() {
  static nghttp2_session_callbacks* const made = [] {
    nghttp2_session_callbacks* t = nullptr;
    if (nghttp2_session_callbacks_new(&t) != 0) std::abort();
    using Session = nghttp2_session;
    using Frame = nghttp2_frame;
    nghttp2_session_callbacks_set_on_header_callback(
        t, [](Session*, const Frame*, const uint8_t* name, size_t name_len, const uint8_t* value,
              size_t value_len, uint8_t, void* p) {
          auto* self = static_cast<H2Client*>(p);
          const bool good =
              self->sink_.field(self->sink_.p, {reinterpret_cast<const char*>(name), name_len},
                                {reinterpret_cast<const char*>(value), value_len});
          if (good) return 0;
          self->failed_ = true;
          return int{NGHTTP2_ERR_CALLBACK_FAILURE};
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        t, [](Session*, const Frame* frame, void* self) {
          return static_cast<H2Client*>(self)->frame_received(frame);
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        t, [](Session*, uint8_t, int32_t, const uint8_t* data, size_t n, void* p) {
          auto* self = static_cast<H2Client*>(p);
          // The bytes that take() was given, which are the caller's to change.
          char* from = const_cast<char*>(reinterpret_cast<const char*>(data));
          if (self->sink_.data(self->sink_.p, from, from + n)) return 0;
          self->failed_ = true;
          return int{NGHTTP2_ERR_CALLBACK_FAILURE};
        });
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
        t, [](Session*, const Frame* frame, int, void* p) {
          auto* self = static_cast<H2Client*>(p);
          if (frame->hd.type == NGHTTP2_WINDOW_UPDATE) self->nonsense("too large window update");
          if (frame->hd.type != NGHTTP2_SETTINGS) return 0;
          for (size_t i = 0; i < frame->settings.niv; ++i) {
            const nghttp2_settings_entry& one = frame->settings.iv[i];
            if (one.settings_id == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE && one.value > kMaxWindow)
              self->nonsense("settings frame with too large initial window size: %u", one.value);
          }
          return 0;
        });
    // What it says of its own accord: the server has broken the protocol.
    nghttp2_session_callbacks_set_on_frame_send_callback(
        t, [](Session*, const Frame* frame, void* p) {
          if (frame->hd.type == NGHTTP2_GOAWAY || frame->hd.type == NGHTTP2_RST_STREAM)
            static_cast<H2Client*>(p)->nonsense("http2 frame that is not allowed");
          return 0;
        });
    return t;
  }();
  return made;
}

nghttp2_option* H2Client::options() {
  static nghttp2_option* const made = [] {
    nghttp2_option* o = nullptr;
    if (nghttp2_option_new(&o) != 0) std::abort();
    // What makes sense as an answer is nginx's to say.
    nghttp2_option_set_no_http_messaging(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    // The buffer for an answer's head is limited, so these need not be.
    nghttp2_option_set_max_continuations(o, 1 << 20);
    nghttp2_option_set_max_send_header_block_length(o, 1 << 24);
    return o;
  }();
  return made;
}

}  // namespace moonphase::http
