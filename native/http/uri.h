// URIs: nginx's normalisation, escaping and unescaping.
#pragma once

#include "base/arena.h"
#include "http/request.h"

namespace moonphase::http {

// Fills r->uri, args, exten and the flags from r->unparsed_uri. kOk, or kError for a 400.
int parse_request_uri(Request* r, bool merge_slashes);
// Normalises a path given by Lua or `rewrite`: kOk or kError ("unsafe URI").
// nginx's ngx_http_parse_unsafe_uri: splits off args, refuses "..", unescapes where needed.
constexpr unsigned kLogUnsafe = 1;
int parse_unsafe_uri(Request* r, Str* uri, Str* args, unsigned* flags);
void set_exten(Request* r);

// What to escape; numbers as ngx_escape_uri's type argument.
enum class Escape : uint8_t {
  kUri = 0,
  kArgs = 1,
  kUriComponent = 2,
  kHtml = 3,
  kRefresh = 4,
  kMemcached = 5,
  kMail = 6
};
size_t escaped_extra(Str s, Escape type);  // bytes that become %XX
char* escape(char* dst, Str s, Escape type);
Str escape(Arena& a, Str s, Escape type);
// ngx_unescape_uri; `args` stops nothing, `redirect` mode keeps %2f. Returns the new end of dst.
enum class Unescape : uint8_t { kPlain = 0, kUri = 1, kRedirect = 2 };
char* unescape(char* dst, Str s, Unescape type);
size_t escape_html_size(Str s);
char* escape_html(char* dst, Str s);

}  // namespace moonphase::http
