// What gzip and gunzip have in common: chains of buffers go through a zlib stream.
#pragma once

#include <zlib.h>

#include "http/output.h"

namespace moonphase::http {

// What arrives waits in `in` until zlib has taken it; what zlib gives goes out in at most `most`
// buffers, which are used again when they have been sent. Lies in the request's arena.
struct ZlibChain {
  z_stream stream{};
  bool started = false, done = false, starved = false, redo = false;
  int flush = Z_NO_FLUSH;
  int bufs = 0;
  Chain* in = nullptr;
  Buf* in_buf = nullptr;
  Buf* out_buf = nullptr;
  Chain *free = nullptr, *busy = nullptr, *out = nullptr, **out_end = &out;
  Chain* free_links = nullptr;

  // What makes a filter of it.
  struct Kind {
    Slot slot;
    const char* name;   // for the debug log
    bool whole_chains;  // subrequests pass, too: last_in_chain ends the stream
    bool (*start)(Request* r, ZlibChain* z);
    // Runs zlib once. kOk: there is output to send; kAgain: go on; kError (logged).
    int (*step)(Request* r, ZlibChain* z);
    void (*end)(void* z);  // of a stream that was started; may be called again
  };
  // The body filter.
  int filter(Request* r, const Kind& kind, int most, size_t size, Chain* data);

  // For `step`: appends `b` to what is sent next.
  void put_out(Request* r, Buf* b);
  // After zlib ran: where it stands in its two buffers.
  void advance();
  // The flush that was asked for is done.
  void put_flushed(Request* r);
  // A step that has nothing else to tell: kAgain while there is more input, else what has become of
  // it goes out.
  int end_step(Request* r);

 private:
  int add_data(bool whole_chains);
  bool get_buf(Request* r, int most, size_t size);
  bool work(Request* r, const Kind& kind, int most, size_t size);
  void update_chains();
  int fail(const Kind& kind);
};

}  // namespace moonphase::http
