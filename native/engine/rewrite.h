// The rewrite module's programs: set, if, rewrite, return, break, set_by_lua, set-misc's setters.
#pragma once

#include "engine/plan.h"
#include "http/request.h"

namespace moonphase::engine {

using http::Request;

// Phase handlers: the server's program, the location's.
int server_rewrite_ops(Request* r);
int location_rewrite_ops(Request* r);
// kDeclined: the phases go on; else the request's answer.
int run_program(Request* r, const RewriteProgram& program);

}  // namespace moonphase::engine
