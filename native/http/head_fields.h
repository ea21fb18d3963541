// An answer's head as fields, for connections that are framed (HTTP/2).
#pragma once

#include "http/request.h"

namespace moonphase::http {

// Hands the head of `r` to its connection. `base`: what makes a path in Location absolute, or
// empty.
int send_fields(Request* r, Str base);
// A header's name as such protocols have it.
Str lower_name(Request* r, const Header& h);

}  // namespace moonphase::http
