// How requests end and refer to each other: finalize, references, posted requests, error pages.
#pragma once

#include "http/request.h"

namespace moonphase::engine {

using http::Request;

// ngx_http_finalize_request: kDone drops a reference; kOk, kError, kDeclined, a status, 499, 444 …
void finalize_request(Request* r, int rc);
void free_request(Request* r, int rc);
// Runs what subrequests and wake-ups have posted on the connection of `r`.
void run_posted(http::Connection* c);
void post_request(Request* r);
// ngx_http_special_response_handler: error_page, or the built-in page. Returns what a content handler returns.
int special_response(Request* r, int status);
int filter_finalize(Request* r, int status);
// The request's own log line(s) and the log phase.
void log_request(Request* r);
// The end of the answer with this body: status, type and text (`return 200 text`).
int send_response(Request* r, int status, Str content_type, const http::Complex& text);
// Sends as much as is held back; the default write_event_handler of a finishing request.
void writer(Request* r);
void set_writer(Request* r);
void empty_handler(Request* r);

// What the log's context is: levels for error log lines of a request.
const Log& log_of(const Request* r);
#define MOONPHASE_LOG(r, level, err, ...)                                                           \
  do {                                                                                              \
    const ::moonphase::Log& log__ = ::moonphase::engine::log_of(r);                                 \
    if (log__.enabled(level)) ::moonphase::log_write(log__, (r)->conn, (level), (err), __VA_ARGS__); \
  } while (0)

// Subrequests (ngx_http_subrequest). `flags`: below. kOk with *sr set, or kError (logged).
constexpr unsigned kSubInMemory = 2, kSubWaited = 4, kSubClone = 8, kSubBackground = 16;
int subrequest(Request* r, Str uri, Str args, Request** sr, http::PostSubrequest* ps, unsigned flags);

}  // namespace moonphase::engine
