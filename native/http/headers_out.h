// Editing response headers by name, with the built-in ones kept right: ngx.header,
// more_set_headers.
#pragma once

#include "http/request.h"

namespace moonphase::http {

// `name` and `value` stay in the request's arena. An empty value removes the header; for a built-in
// one that also keeps the server's own from being added (Server, Date). With `override` the first
// of that name is replaced and the others go, else one is added. kOk, or kError: no such value for
// that name (Content-Length: x).
int headers_out_set(Request* r, Str name, Str value, bool override);

// r->headers_out when its header has been sent: those of a hosted request may still be elsewhere
// (host_answer.cc).
HeadersOut& sent_headers(Request* r);

// Content-Type with the charset that it names: from an upstream, or from more_set_headers (Lua's
// leaves r->headers_out.charset alone).
void set_content_type_as_sent(Request* r, Str value);

}  // namespace moonphase::http
