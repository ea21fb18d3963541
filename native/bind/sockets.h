// Listening sockets for TypeScript: the primary opens them and hands them to workers as
// descriptors.
#pragma once

#include <node_api.h>

namespace moonphase::bind {

void define_sockets(napi_env env, napi_value exports);

}  // namespace moonphase::bind
