// The tables of nginx's own variables; each ends with a null name.
#pragma once

#include "engine/variables/variables.h"

namespace moonphase::engine {

extern const VariableDef kRequestVariables[];  // variables_request.cc
extern const VariableDef
    kHeaderVariables[];  // variables_header.cc: http_*, sent_http_*, cookie_*, arg_*
extern const VariableDef
    kConnectionVariables[];  // variables_connection.cc: addresses, connection_*, tcpinfo_*
extern const VariableDef kTlsVariables[];  // variables_tls.cc: ssl_*
extern const VariableDef kLaterVariables[];
extern const VariableDef kResponseVariables[];  // variables_response.cc: status, bytes_sent, times

// The value of argument `name` (lower case; matched without case) in the request's query; false:
// none.
bool find_argument(const Request* r, Str name, Str* value);
// The user of Basic authentication into headers_in.user, passwd. kOk, kDeclined.
int basic_user(Request* r);
// "10k", "1m" → bytes; -1: not a size.
int64_t parse_size(Str s);

}  // namespace moonphase::engine
