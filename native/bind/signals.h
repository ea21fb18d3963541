// Signals of a server process. They are caught natively from the process's first act on, so that
// one that comes early neither kills it nor (USR1) opens Node's debugger.
#pragma once

#include <node_api.h>

namespace moonphase::bind {

void define_signals(napi_env env, napi_value exports);

}  // namespace moonphase::bind
