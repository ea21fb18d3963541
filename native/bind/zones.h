// Shared dictionaries of the primary: it makes the memory, workers inherit the descriptor.
#pragma once

#include <node_api.h>

namespace moonphase::bind {

void define_zones(napi_env env, napi_value exports);

}  // namespace moonphase::bind
