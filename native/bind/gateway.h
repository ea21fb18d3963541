// The class Gateway of the binding: an engine::Runtime that JavaScript drives.
#pragma once

#include <node_api.h>

namespace moonphase::bind {

void define_gateway(napi_env env, napi_value exports);

}  // namespace moonphase::bind
