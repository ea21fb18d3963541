// The way out: header filters and body filters in nginx's order, then the writer.
#pragma once

#include "http/request.h"

namespace moonphase::http {

using HeaderFilter = int (*)(Request*);
using BodyFilter = int (*)(Request*, Chain*);

// In the order in which they run. Each calls the next through next_header/next_body with its own
// slot.
enum class Slot : uint8_t {
  kNotModified,  // header
  kRangeBody,    // body
  kCopy,         // files into memory, where a filter below looks at bytes
  kHeadersMore,
  kLua,         // header_filter_by_lua, body_filter_by_lua
  kLuaCapture,  // ngx.location.capture's collector
  kEcho,        // echo_before_body, echo_after_body
  kHeaders,     // add_header, expires
  kGunzip,
  kSub,  // sub_filter
  kCharset,
  kPostpone,  // order of subrequests' output
  kGzip,
  kRangeHeader,
  kChunked,
  kHeader,  // serialises the header (header chain ends here)
  kWrite,   // sends (body chain ends here)
  kCount,
};

constexpr uint32_t slot_bit(Slot s) { return 1u << static_cast<int>(s); }

class FilterTable {
 public:
  void add(Slot s, HeaderFilter header, BodyFilter body) {
    header_[static_cast<int>(s)] = header;
    body_[static_cast<int>(s)] = body;
    if (header) headers_ |= slot_bit(s);
    if (body) bodies_ |= slot_bit(s);
  }
  // The first filter of these slots that is there; the writers end both chains.
  int header(Request* r, uint32_t slots) const {
    slots &= headers_ & (r->loc->header_filters | r->filters);
    return slots ? header_[__builtin_ctz(slots)](r) : int{kOk};
  }
  int body(Request* r, uint32_t slots, Chain* in) const {
    slots &= bodies(r);
    return slots ? body_[__builtin_ctz(slots)](r, in) : int{kOk};
  }
  // The body filters that run for the request.
  uint32_t bodies(const Request* r) const { return bodies_ & (r->loc->body_filters | r->filters); }

 private:
  HeaderFilter header_[static_cast<int>(Slot::kCount)] = {};
  BodyFilter body_[static_cast<int>(Slot::kCount)] = {};
  uint32_t headers_ = 0, bodies_ = 0;
};
// The process's filters, constant after the addon is loaded: http registers its own, engine adds
// Lua's and so on.
inline constinit FilterTable g_filters;
inline FilterTable& filters() { return g_filters; }

constexpr uint32_t slots_behind(Slot s) { return ~0u << (static_cast<int>(s) + 1); }
inline int next_header(Request* r, Slot after) { return filters().header(r, slots_behind(after)); }
inline int next_body(Request* r, Slot after, Chain* in) {
  return filters().body(r, slots_behind(after), in);
}
void register_http_filters();  // not-modified, range, headers, postpone, chunked, header, write

// ngx_http_send_header and ngx_http_output_filter. kOk, kAgain (held back by the socket), kError,
// or a status.
int send_header(Request* r);
int output(Request* r, Chain* in);
// Sends last_buf (main) or last_in_chain (sub); `flush` also pushes what is there.
int send_last(Request* r);
constexpr unsigned kSendLast = 1, kSendFlush = 2;
int send_special(Request* r, unsigned flags);

// Buffer flags for r->buffered_bits.
constexpr unsigned kWriteBuffered = 0x10, kGzipBuffered = 0x20, kLuaBuffered = 0x08,
                   kPostponeBuffered = 0x04, kSubBuffered = 0x02, kCopyBuffered = 0x01;

// Response headers by name, with the built-in ones kept right; used by static files and special
// responses.
Header* add_header_out(Request* r, Str name, Str value);
void clear_content_length(Request* r);
void clear_accept_ranges(Request* r);
void clear_last_modified(Request* r);
void clear_etag(Request* r);
void clear_location(Request* r);
void weak_etag(Request* r);
int set_etag(Request* r);            // from last_modified_time and content_length_n
int set_content_type(Request* r);    // by extension, `types` and `default_type`
Str status_line(int status);         // "404 Not Found"; "" when unknown
Str special_page(int status);        // nginx's built-in page body up to the tail; "" when none
Str special_tail(const Request* r);  // <hr><center>nginx…</center>…
Str msie_padding();                  // six comment lines, for msie and chrome
Str server_token(
    const Request* r);  // "nginx/1.31.2" or "nginx", by server_tokens; "" when embedded
// The text of a value; literals directly, others through the engine. False: failed.
bool evaluate(Request* r, const Complex& value, Str* out);
int64_t evaluate_size(Request* r, const Complex& value);  // "10k" → 10240; 0 when empty or wrong

}  // namespace moonphase::http
