// How requests end and refer to each other: finalize, references, posted requests, error pages.
#pragma once

#include "base/log.h"
#include "http/connection.h"
#include "http/request.h"

namespace moonphase::engine {

using http::Request;

// ngx_http_finalize_request: kDone drops a reference; kOk, kError, kDeclined, a status, 499, 444 …
void finalize_request(Request* r, int rc);
// The main request is over: what was registered by on_request_end runs, then it is logged. `rc` >
// 0: the status of an answer that never began. Once; its memory stays until http frees it.
void free_request(Request* r, int rc);
// Runs what subrequests and wake-ups have posted on the connection; called by itself at the end of
// the loop callback.
void run_posted(http::Connection* c);
// `r->write_event_handler` runs soon (ngx_http_post_request).
void post_request(Request* r);
// Runs when the main request of `r` ends or is torn down, before its log phase
// (ngx_http_cleanup_add); last registered first. The record lives in the arena; a null `fn` disarms
// it. What must stay until the memory goes registers at the arena instead (Arena::on_destroy).
Arena::Cleanup* on_request_end(Request* r, void (*fn)(void*), void* data);

// ngx_http_special_response_handler: error_page, or the built-in page. Returns what a content
// handler returns.
int special_response(Request* r, int status);
// From header filters: the answer becomes an error. `keep_lua`: a Lua filter asks, its ctx stays.
int filter_finalize(Request* r, int status, bool keep_lua = false);
void clean_header(Request* r);  // forgets the answer's status and headers
// The log phase and the request's own log line(s).
void log_request(Request* r);
// The end of the answer with this body: status, type (empty: by extension) and text (`return 200
// text`).
int send_response(Request* r, int status, Str content_type, const http::Complex& text);
// `Location: value`, for redirects of any kind.
void set_location(Request* r, Str value);

// Sends as much as is held back; the default write_event_handler of a finishing request.
void writer(Request* r);
void set_writer(Request* r);
void empty_handler(Request* r);
// For subrequests whose turn to send has come when they are complete: finalizes.
void request_finalizer(Request* r);

// What http calls (ServerHooks).
http::ServerHooks server_hooks(void* runtime);

// What the log's context is: levels for error log lines of a request.
inline const Log& log_of(const Request* r) { return r->conn->log; }
#define MOONPHASE_LOG(r, level, err, ...)                                    \
  do {                                                                       \
    const ::moonphase::Log& log__ = ::moonphase::engine::log_of(r);          \
    if (log__.enabled(level))                                                \
      ::moonphase::log_write(log__, (r)->conn, (level), (err), __VA_ARGS__); \
  } while (0)

// Subrequests (ngx_http_subrequest). `flags`: below. kOk with *sr set, or kError (logged).
constexpr unsigned kSubInMemory = 2, kSubWaited = 4, kSubClone = 8, kSubBackground = 16;
int subrequest(Request* r, Str uri, Str args, Request** sr, http::PostSubrequest* ps,
               unsigned flags);

}  // namespace moonphase::engine
