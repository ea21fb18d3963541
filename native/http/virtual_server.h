// Host names: checking them, and finding the server that a request is for.
#pragma once

#include "http/request.h"

namespace moonphase::http {

// ngx_http_validate_host: false for an impossible name; else `host` is lower case, without port and
// final dot.
bool validate_host(Arena& a, Str* host);
// Chooses r->srv and r->loc by name; the default server stays when no name matches. The connection
// logs there.
void set_virtual_server(Request* r, Str host);
// The server of this name on the connection's address; null: none has it.
const ServerCore* named_server(const Connection* c, Str host);

}  // namespace moonphase::http
