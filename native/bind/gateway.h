// The class Gateway of the binding: an engine::Runtime that JavaScript drives.
#pragma once

#include <node_api.h>

#include "engine/runtime.h"

namespace moonphase::bind {

class VmHost;

void define_gateway(napi_env env, napi_value exports);

// The runtime of a Gateway object; null, with an exception pending: it is none or has ended.
engine::Runtime* gateway_runtime(napi_env env, napi_value gateway);
// `host` works on that runtime: it is closed when the gateway ends.
void gateway_adopt(napi_env env, napi_value gateway, VmHost* host);

}  // namespace moonphase::bind
