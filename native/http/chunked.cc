#include "http/chunked.h"

namespace moonphase::http {

namespace {

ChunkDecoder* self(llhttp_t* p) { return static_cast<ChunkDecoder*>(p->data); }

const llhttp_settings_t* settings() {
  static const llhttp_settings_t s = [] {
    llhttp_settings_t x;
    llhttp_settings_init(&x);
    x.on_chunk_header = [](llhttp_t* p) -> int {
      ChunkDecoder* d = self(p);
      // nginx's limit: what is left of the body, its last chunk included, is an off_t.
      d->overflow = p->content_length > INT64_MAX - 5;
      if (d->overflow) return -1;
      if (p->content_length) return d->sink->size(d->sink->data, p->content_length) ? 0 : -1;
      d->trailer = ChunkDecoder::kLineStart;
      return HPE_PAUSED;
    };
    x.on_body = [](llhttp_t* p, const char* at, size_t n) -> int {
      ChunkDecoder* d = self(p);
      d->sink->bytes(d->sink->data, const_cast<char*>(at), n);
      return 0;
    };
    return x;
  }();
  return &s;
}

}  // namespace

void ChunkDecoder::init() {
  llhttp_init(&parser, HTTP_REQUEST, settings());
  parser.data = this;
  llhttp_set_lenient_spaces_after_chunk_size(&parser, 1);
  llhttp_set_lenient_headers(&parser, 1);
  // The request's own head was read elsewhere (http/parse.h).
  static constexpr char kHead[] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  llhttp_execute(&parser, kHead, sizeof kHead - 1);
}

// Lines up to an empty one; their ends are CR LF.
int ChunkDecoder::skip_trailer(char*& pos, char* last) {
  while (pos < last) {
    char c = *pos++;
    bool ends = trailer == kLineEnd || trailer == kEnd;
    if (ends ? c != '\n' : c == '\n') return kError;
    if (trailer == kEnd) return kDone;
    if (ends) {
      trailer = kLineStart;
    } else if (c == '\r') {
      trailer = trailer == kLineStart ? kEnd : kLineEnd;
    } else {
      trailer = kLine;
    }
  }
  return kAgain;
}

int ChunkDecoder::decode(char*& pos, char* last, const Sink& to) {
  if (pos == last) return kAgain;
  if (trailer != kNone) return skip_trailer(pos, last);
  sink = &to;
  llhttp_errno_t rc = llhttp_execute(&parser, pos, static_cast<size_t>(last - pos));
  sink = nullptr;
  if (rc == HPE_OK) {
    pos = last;
    return kAgain;
  }
  pos = const_cast<char*>(llhttp_get_error_pos(&parser));
  if (rc == HPE_PAUSED && trailer != kNone)
    return keep_trailer ? int{kDeclined} : skip_trailer(pos, last);
  return rc == HPE_CB_CHUNK_HEADER && !overflow ? kDeclined : kError;
}

}  // namespace moonphase::http
