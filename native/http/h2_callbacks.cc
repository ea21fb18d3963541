// What nghttp2 tells a session while it reads and writes, and how it is set up.
#include <algorithm>
#include <cstdlib>

#include "http/h2_session.h"
#include "http/h2_stream.h"

namespace moonphase::http {

H2Stream* H2Session::stream(int32_t id) const {
  return static_cast<H2Stream*>(nghttp2_session_get_stream_user_data(ng_, id));
}

int H2Session::fail(uint32_t code, const char* why) {
  log_info(why);
  failure_ = code;
  failed_ = true;
  return NGHTTP2_ERR_CALLBACK_FAILURE;
}

int H2Session::refuse(int32_t id, uint32_t code, const char* why) {
  log_info(why);
  if (refused_streams_++ > std::max(max_streams(srv()), 100u))
    return fail(NGHTTP2_NO_ERROR, "client sent too many refused streams");
  nghttp2_submit_rst_stream(ng_, NGHTTP2_FLAG_NONE, id, code);
  return 0;
}

int H2Session::begin_headers(const nghttp2_frame* frame) {
  if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  const int32_t id = frame->hd.stream_id;
  const ServerCore* s = srv();
  const CoreConf* conf = s->conf;
  const unsigned most = max_streams(s);
  const bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
  if (going_) return 0;
  last_id_ = id;
  if (processing >= most) return refuse(id, NGHTTP2_REFUSED_STREAM, "concurrent streams exceeded");
  if (new_streams_++ >= 2 * most)
    return refuse(id, NGHTTP2_REFUSED_STREAM, "client sent too many streams at once");
  if (!settings_acked_ && !ends && s->http2_body_preread_size < NGHTTP2_INITIAL_WINDOW_SIZE)
    return refuse(id, NGHTTP2_REFUSED_STREAM,
                  "client sent stream with data before settings were acknowledged");

  if (idle_) {
    idle_ = false;
    --client->server->stats.waiting;
  }
  if (!processing) client->set_read_timeout(0);
  ++processing;
  ++client->requests;
  priority_left_ += most;
  auto* stream = new H2Stream(this, id);
  stream->next_stream = streams_;
  if (streams_) streams_->prev_stream = stream;
  streams_ = stream;
  nghttp2_session_set_stream_user_data(ng_, id, stream);
  open_ = stream;
  size_t length = frame->hd.length;
  if (frame->hd.flags & NGHTTP2_FLAG_PRIORITY) length -= 5;
  stream->request->request_length = static_cast<int64_t>(length);
  if (conf->keepalive_timeout == 0 ||
      client->requests >= static_cast<uint64_t>(conf->keepalive_requests) ||
      now().monotonic_ms - client->start_ms > conf->keepalive_time) {
    going_ = true;
    nghttp2_submit_goaway(ng_, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR, nullptr, 0);
  }
  return 0;
}

int H2Session::frame_begun(const nghttp2_frame_hd* hd) {
  if (hd->type == NGHTTP2_CONTINUATION && open_)
    open_->request->request_length += static_cast<int64_t>(hd->length);
  // nghttp2 reads over a used number. Trailers of a stream that we have ended may be on their way.
  const int32_t id = hd->stream_id;
  if (hd->type != NGHTTP2_HEADERS || id > last_id_ || nghttp2_session_find_stream(ng_, id))
    return 0;
  if (std::find(std::begin(ended_), std::end(ended_), id) != std::end(ended_)) return 0;
  return fail(NGHTTP2_PROTOCOL_ERROR, "client sent HEADERS frame with incorrect identifier");
}

int H2Session::header(Str name, Str value) {
  if (!open_) return 0;
  bool empty_name = false;
  if (open_->field(name, value, &empty_name) == kOk) return 0;
  if (empty_name) return fail(NGHTTP2_PROTOCOL_ERROR, "client sent zero header name length");
  return fail(NGHTTP2_ENHANCE_YOUR_CALM, "client sent too large header");
}

int H2Session::frame_received(const nghttp2_frame* frame) {
  const int32_t id = frame->hd.stream_id;
  const bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
  switch (frame->hd.type) {
    case NGHTTP2_HEADERS: {
      if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        H2Stream* s = std::exchange(open_, nullptr);
        if (!s) return 0;
        if (frame->hd.flags & NGHTTP2_FLAG_PADDED)
          s->request->request_length -= static_cast<int64_t>(frame->headers.padlen);
        payload_bytes_ += static_cast<uint64_t>(s->request->request_length);
        s->in_closed = ends;
        s->event_begin = true;
        post(s);
        return 0;
      }
      // A body's trailers, which nobody asks for.
      if (!ends) {
        nghttp2_submit_rst_stream(ng_, NGHTTP2_FLAG_NONE, id, NGHTTP2_PROTOCOL_ERROR);
        return 0;
      }
      [[fallthrough]];
    }
    case NGHTTP2_DATA:
      if (H2Stream* s = ends ? stream(id) : nullptr) {
        s->in_closed = true;
        s->event_read = true;
        post(s);
      }
      return 0;
    case NGHTTP2_PRIORITY:
      if (--priority_left_ == 0)
        return fail(NGHTTP2_ENHANCE_YOUR_CALM, "client sent too many PRIORITY frames");
      return 0;
    case NGHTTP2_SETTINGS:
      if (frame->hd.flags & NGHTTP2_FLAG_ACK) settings_acked_ = true;
      return 0;
    case NGHTTP2_RST_STREAM:
      if (const H2Stream* s = stream(id)) {
        const uint32_t code = frame->rst_stream.error_code;
        if (code == NGHTTP2_CANCEL)
          log_write(s->log, s, kLogInfo, 0, "client canceled stream %d", id);
        else if (code == NGHTTP2_INTERNAL_ERROR)
          log_write(s->log, s, kLogInfo, 0, "client terminated stream %d due to internal error",
                    id);
        else
          log_write(s->log, s, kLogInfo, 0, "client terminated stream %d with status %u", id, code);
      }
      return 0;
  }
  return 0;
}

int H2Session::data(int32_t id, Str bytes) {
  H2Stream* s = stream(id);
  nghttp2_session_consume_connection(ng_, bytes.size());
  if (!s || s->skip_data) {
    nghttp2_session_consume_stream(ng_, id, bytes.size());
    return 0;
  }
  payload_bytes_ += bytes.size();
  s->take(bytes);
  s->event_read = true;
  post(s);
  return 0;
}

int H2Session::stream_closed(int32_t id, uint32_t) {
  H2Stream* s = stream(id);
  if (!s) return 0;
  s->open = false;
  const bool whole = s->in_closed && s->out_closed;
  s->in_closed = true;
  if (open_ == s) {
    open_ = nullptr;
    s->event_begin = true;
    post(s);
  }
  if (!whole) s->fail();
  return 0;
}

void H2Session::frame_sent(const nghttp2_frame* frame) {
  if (frame->hd.type == NGHTTP2_GOAWAY && !going_) {
    // nghttp2's own: the client has broken the protocol.
    going_ = true;
    return;
  }
  if (frame->hd.type != NGHTTP2_HEADERS) return;
  H2Stream* s = stream(frame->hd.stream_id);
  if (!s || !s->request) return;
  const auto size = static_cast<int64_t>(kH2FrameHead + frame->hd.length);
  s->sent += size;
  s->request->header_size += size;
  payload_bytes_ += static_cast<uint64_t>(size);
  if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) s->out_closed = true;
}

int H2Session::write_data(nghttp2_frame* frame, const uint8_t* head, size_t n) {
  H2Stream* s = stream(frame->hd.stream_id);
  append(head, kH2FrameHead);
  if (!s || !s->put_payload(n)) {
    // The frame has begun: its bytes have to be something.
    static constexpr char kZeros[256] = {};
    for (size_t left = n; left;) {
      const size_t part = std::min(left, sizeof kZeros);
      append(kZeros, part);
      left -= part;
    }
    return 0;
  }
  payload_bytes_ += n;
  if (s && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) s->out_closed = true;
  return 0;
}

nghttp2_ssize H2Session::read_data(int32_t id, size_t most, uint32_t* flags) {
  H2Stream* s = stream(id);
  if (!s) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  return s->next_length(most, flags);
}

// --- tables ---

nghttp2_session_callbacks* H2Session::callbacks() {
  static nghttp2_session_callbacks* const made = [] {
    nghttp2_session_callbacks* t = nullptr;
    if (nghttp2_session_callbacks_new(&t) != 0) std::abort();
    using Session = nghttp2_session;
    using Frame = nghttp2_frame;
    nghttp2_session_callbacks_set_on_begin_headers_callback(
        t, [](Session*, const Frame* frame, void* self) {
          return static_cast<H2Session*>(self)->begin_headers(frame);
        });
    nghttp2_session_callbacks_set_on_begin_frame_callback(
        t, [](Session*, const nghttp2_frame_hd* hd, void* self) {
          return static_cast<H2Session*>(self)->frame_begun(hd);
        });
    nghttp2_session_callbacks_set_on_header_callback(
        t, [](Session*, const Frame*, const uint8_t* name, size_t name_len, const uint8_t* value,
              size_t value_len, uint8_t, void* self) {
          return static_cast<H2Session*>(self)->header(
              {reinterpret_cast<const char*>(name), name_len},
              {reinterpret_cast<const char*>(value), value_len});
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        t, [](Session*, const Frame* frame, void* self) {
          return static_cast<H2Session*>(self)->frame_received(frame);
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        t, [](Session*, uint8_t, int32_t id, const uint8_t* data, size_t n, void* self) {
          return static_cast<H2Session*>(self)->data(id, {reinterpret_cast<const char*>(data), n});
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        t, [](Session*, int32_t id, uint32_t code, void* self) {
          return static_cast<H2Session*>(self)->stream_closed(id, code);
        });
    nghttp2_session_callbacks_set_on_frame_send_callback(
        t, [](Session*, const Frame* frame, void* self) {
          static_cast<H2Session*>(self)->frame_sent(frame);
          return 0;
        });
    nghttp2_session_callbacks_set_send_data_callback(
        t, [](Session*, Frame* frame, const uint8_t* head, size_t n, nghttp2_data_source*,
              void* self) { return static_cast<H2Session*>(self)->write_data(frame, head, n); });
    nghttp2_session_callbacks_set_error_callback2(t, [](Session*, int, const char* text, size_t n,
                                                        void* self) {
      const Client* c = static_cast<H2Session*>(self)->client;
      log_write(c->log, c, kLogInfo, 0, "client violated HTTP/2: %.*s", static_cast<int>(n), text);
      return 0;
    });
    return t;
  }();
  return made;
}

nghttp2_option* H2Session::options() {
  static nghttp2_option* const made = [] {
    nghttp2_option* o = nullptr;
    if (nghttp2_option_new(&o) != 0) std::abort();
    nghttp2_option_set_no_auto_window_update(o, 1);
    // What nginx answers to requests that make no sense is an answer.
    nghttp2_option_set_no_http_messaging(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_max_continuations(o, 64);
    return o;
  }();
  return made;
}

}  // namespace moonphase::http
