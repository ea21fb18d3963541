// A request's line and headers, once they are there: what they say together, and what is refused.
#pragma once

#include "http/parse.h"
#include "http/request.h"

namespace moonphase::http {

// Takes what the line's parser has found; the server by a name in the line. kOk, or a status after
// logging why.
int take_request_line(Request* r, const LineParser& line);
// All headers are in the list and known. kOk, or a status after logging why.
int check_headers(Request* r);

}  // namespace moonphase::http
