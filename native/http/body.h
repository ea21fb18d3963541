// The client's body: read into memory and temporary files, decoded from chunks, or discarded.
#pragma once

#include "http/request.h"

namespace moonphase::http {

struct Body {
  File* temp_file = nullptr;
  Chain* bufs = nullptr;   // memory buffers, then the file's
  Buf* buf = nullptr;      // what is being filled
  int64_t rest = -1;       // still to come; -1: unknown yet (chunked)
  int64_t received = 0;
  void* chunked = nullptr; // decoder state
  void (*post_handler)(Request*) = nullptr;
  bool filter_need_buffering = false, last_sent = false, last_saved = false, no_buffering = false;
};

// Reads the body, then calls `done(r)`, at once when it is there already. kOk: called; kAgain: later; ≥ 300: refuse with
// that status. Holds a reference (r->main->count) while it waits. nginx's ngx_http_read_client_request_body.
int read_body(Request* r, void (*done)(Request*));
int read_unbuffered_body(Request* r);
// Throws the body away so that the connection can go on; kOk or kError or a status.
int discard_body(Request* r);
// Writes the memory part to a temp file (client_body_in_file_only, ngx.req.append_body beyond the buffer).
int write_body_file(Request* r);
// Makes a temp file under `dir` (created when missing), unlinked unless `persistent`; closed with the arena.
File* temp_file(Request* r, Str dir, bool persistent, bool clean);
// 100 Continue, where the client expects it and it was not sent.
int test_expect(Request* r);

}  // namespace moonphase::http
