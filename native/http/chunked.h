// Decodes chunked bodies; llhttp does it, up to the trailer, which nginx reads over whatever it
// holds.
#pragma once

#include <llhttp.h>

#include "base/arena.h"

namespace moonphase::http {

struct ChunkDecoder {
  // Both may stop the decoder by answering false.
  struct Sink {
    bool (*size)(void* data, uint64_t n);  // a chunk of n bytes begins
    void (*bytes)(void* data, char* p, size_t n);
    void* data;
  };

  void init();
  // Takes bytes from `pos`, which moves. kAgain: all taken, more must come; kDone: the body has
  // ended at `pos`; kDeclined: the sink refused a size, or the trailer that is to be kept begins at
  // `pos`; kError: not a chunked body, or a chunk too large for an off_t.
  int decode(char*& pos, char* last, const Sink& sink);

  bool keep_trailer = false;  // somebody reads it

  llhttp_t parser;
  const Sink* sink = nullptr;
  bool overflow = false;  // a chunk's size is no off_t
  enum Trailer : uint8_t { kNone, kLineStart, kLine, kLineEnd, kEnd } trailer = kNone;

 private:
  int skip_trailer(char*& pos, char* last);
};

}  // namespace moonphase::http
