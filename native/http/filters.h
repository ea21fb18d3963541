// http's own filters; Slot (http/output.h) gives their order.
#pragma once

#include "http/output.h"

namespace moonphase::http {

int not_modified_header_filter(Request* r);
int range_header_filter(Request* r);
int range_body_filter(Request* r, Chain* in);
int copy_body_filter(Request* r, Chain* in);
int headers_header_filter(Request* r);
int trailers_body_filter(Request* r, Chain* in);
int postpone_body_filter(Request* r, Chain* in);
int chunked_header_filter(Request* r);
int chunked_body_filter(Request* r, Chain* in);
int header_filter(Request* r);
int write_filter(Request* r, Chain* in);
// The same, of a head that lies in the request's arena: it mostly waits for what follows.
int write_header(Request* r, char* start, char* end);

}  // namespace moonphase::http
