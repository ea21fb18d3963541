// Request headers that the server itself reads: the table of their names and handlers.
#pragma once

#include "http/request.h"

namespace moonphase::http {

// How a known request header is stored.
struct KnownIn {
  Str lower;
  Header* HeadersIn::*slot;
  enum Kind : uint8_t { kMulti, kUnique, kHost, kConnection, kUserAgent, kNothing } kind;
};
const KnownIn* known_in(Str lower);

// One header line has arrived (already in the list): fills the shortcut. kOk, or a status (400)
// after logging why.
int headers_in_added(Request* r, Header* h);

// For code that edits request headers (ngx.req.set_header, more_set_input_headers). A null value
// removes the header. With `override` all of that name are replaced, else one is added. Connection
// type, content length, user agent flags and `server` follow.
void headers_in_set(Request* r, Str name, const Str* value, bool override);
// Recomputes the shortcut of one name from the list.
void headers_in_relink(Request* r, Str lower);

// "123" → 123; -1: not a number. nginx's ngx_atoof.
int64_t parse_offset(Str s);

}  // namespace moonphase::http
