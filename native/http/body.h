// The client's body: read into memory and temporary files, decoded from chunks, or discarded.
#pragma once

#include "http/request.h"

namespace moonphase::http {

struct ChunkDecoder;  // http/chunked.h

struct Body {
  File* temp_file = nullptr;
  Chain* bufs = nullptr;  // memory buffers, or one that is the file's
  Buf* buf = nullptr;     // what is being filled
  int64_t rest = -1;      // still to come; -1: unknown yet (chunked)
  int64_t received = 0;
  ChunkDecoder* chunked = nullptr;
  void (*post_handler)(Request*) = nullptr;
  Chain* busy = nullptr;  // unbuffered: handed out, perhaps not used up
  // What was, to be used again: links with their buffers, and links alone.
  Chain *free = nullptr, *links = nullptr;
  bool last_saved = false;
};

// Reads the body, then calls `done(r)`, at once when it is there already. kOk: called; kAgain:
// later; ≥ 300: refuse with that status. Holds a reference (r->main->count) while it waits. nginx's
// ngx_http_read_client_request_body.
int read_body(Request* r, void (*done)(Request*));
int read_unbuffered_body(Request* r);
// Throws the body away so that the connection can go on; kOk or kError or a status.
int discard_body(Request* r);
// `read_event_handler` while a body is being discarded; ends with finalize(r, kDone).
void discarded_body_handler(Request* r);
// The response is out and the body is still being discarded (count > 1): goes on under
// lingering_time. The engine's finalize_connection calls it.
void linger_discard(Request* r);
// Writes the memory part to a temp file (client_body_in_file_only, ngx.req.append_body beyond the
// buffer).
int write_body_file(Request* r);
// Makes a temp file under `dir` (created when missing), unlinked unless `persistent`; closed with
// the arena.
File* temp_file(Request* r, Str dir, bool persistent, bool clean);
// 100 Continue, where the client expects it and it was not sent.
int test_expect(Request* r);

}  // namespace moonphase::http
