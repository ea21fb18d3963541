// Percent-encoding with lua-nginx-module's byte sets (nginx's own are in http/uri.h), and quoting
// for SQL and JSON.
#pragma once

#include <string>

#include "base/arena.h"

namespace moonphase {

// Which bytes become %XX. The first seven are the `type` argument of ngx.escape_uri.
enum class Percent : int {
  kUri = 0,
  kArgs = 1,
  kComponent = 2,
  kHtml = 3,
  kRefresh = 4,
  kMemcached = 5,
  kMailAuth = 6,
  kHeaderName = 7,
  kHeaderValue = 8,
  kUnsafeArgs = 9,  // what ngx.req.set_uri_args("text") repairs: controls, space, DEL
  kSetEscape = 10,  // set_escape_uri
};

// How many bytes of `s` would be encoded: the text grows by two for each.
size_t percent_count(Str s, Percent set);
// Writes at dst, returns the end.
char* percent_encode(char* dst, Str s, Percent set);
// `s` itself when nothing is to be encoded.
Str percent_encode(Arena& a, Str s, Percent set);
void append_percent(std::string* out, Str s, Percent set);

// %XX and '+'; what is no escape stays as it is. dst may be s.data(); returns the end.
char* percent_decode(char* dst, Str s);

// Text between single quotes, for MySQL. With `dollar`, '$' is escaped too (set_quote_sql_str).
void append_sql_quoted(std::string* out, Str s, bool dollar);
// Text between double quotes.
void append_json_quoted(std::string* out, Str s);
// Bytes that would spoil a log line or message become \xXX.
void append_log_escaped(std::string* out, Str s);

}  // namespace moonphase
