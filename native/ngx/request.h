// The parts of ngx.req, which open_request (request_headers.cc) puts together.
#pragma once

#include <lua.hpp>

#include "ngx/ffi.h"

namespace moonphase::ngx {

// Each adds its functions to the ngx.req table on the top of the stack.
void add_request_args(lua_State* L);
void add_request_uri(lua_State* L);
void add_request_body(lua_State* L);

constexpr int kMaxHeaders = 100;

// ngx.req.set_header and whoever else gives a request other headers (captures with a body). kOk, or
// kError for a value that the name does not allow. An empty value with `override` removes. Name and
// value are escaped and copied.
int set_request_header(Request* r, Str name, Str value, bool override);

}  // namespace moonphase::ngx
