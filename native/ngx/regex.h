// The compiled expressions of ngx.re, in the layout that lua-resty-core reads.
#pragma once

#include <cstdint>

#include "ngx/ffi.h"

// ngx_http_lua_complex_value_t: a replacement. `lengths` and `values` are null for plain text, else
// the template.
struct NgxReplacement {
  NgxStr value;
  void* lengths;
  void* values;
};

// ngx_http_lua_regex_t.
struct NgxRegex {
  void* pool;  // our own part; null: nothing to free
  unsigned char* name_table;
  int name_count;
  int name_entry_size;
  int ncaptures;
  int* captures;
  void* regex;
  void* regex_sd;
  NgxReplacement* replace;
  const char* pattern;
};

namespace moonphase::ngx {

// The texts and capture numbers of "$1 and ${2}".
struct ReplaceTemplate;
void free_template(ReplaceTemplate* t);

// What NgxRegex::pool points to.
struct RegexOwner {
  NgxReplacement replacement{};
  ReplaceTemplate* compiled = nullptr;
  char* text = nullptr;  // the replacement's
  unsigned match_limit = 0;
  bool jit = false;  // compiled, and subjects need no UTF check
};

}  // namespace moonphase::ngx
