// Tokenizers of the request line and of header lines. They follow nginx byte by byte, so they are
// not llhttp's: it refuses methods it doesn't know, header names that nginx ignores and bytes that
// nginx lets through.
#pragma once

#include "http/request.h"

namespace moonphase::http {

// What the tokenizers answer besides kOk (a line is complete) and kAgain (more bytes, please).
enum ParseError : int {
  kParseHeadersDone = 1,
  kBadMethod = 10,
  kBadRequest,
  kBadVersion,
  kBad09Method,
  kBadHeader,
};

// The pieces of a request line; pointers into the read buffer. `shift` follows a buffer that has
// moved.
struct LineParser {
  int state = 0;
  char *start = nullptr, *end = nullptr, *method_end = nullptr;
  char *uri_start = nullptr, *uri_end = nullptr;
  char *schema_start = nullptr, *schema_end = nullptr;
  char *host_start = nullptr, *host_end = nullptr;
  char* protocol = nullptr;
  uint32_t method = kUnknownMethod;
  int major = 0, minor = 0;
  bool empty_path = false;

  void reset() { new (this) LineParser(); }  // in place: a temporary costs a stalled copy
  // Still in front of the first byte of the line.
  bool at_start() const { return state == 0; }
  // Reads from `pos`, which moves, to `last`.
  int parse(char*& pos, char* last);
  void shift(ptrdiff_t by);
};

struct HeaderParser {
  int state = 0;
  char *name_start = nullptr, *name_end = nullptr;
  char *value_start = nullptr, *value_end = nullptr;
  bool invalid = false;  // a name that ignore_invalid_headers drops

  void reset() { new (this) HeaderParser(); }
  bool at_start() const { return state == 0; }
  int parse(char*& pos, char* last, bool underscores);
  void shift(ptrdiff_t by);

 private:
  bool parse_common(char*& pos, char* last);
};

uint32_t method_number(Str name);

}  // namespace moonphase::http
