// The log of code that may have no request.
#pragma once

#include "base/log.h"
#include "http/request.h"

namespace moonphase::ngx {

// The request's error_log; without a request that of the configuration whose Lua runs.
const Log& log_for(const http::Request* r);

}  // namespace moonphase::ngx
