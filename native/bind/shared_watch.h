// dict.subscribe() for JavaScript.
#pragma once

#include <node_api.h>

#include "base/types.h"
#include "shm/zone.h"

namespace moonphase::bind {

// `callback(key, change)` from now on, for keys with this prefix; the result is a function that
// ends it. Null: an exception is pending. It does not keep the process alive.
napi_value watch_zone(napi_env env, shm::Zone* zone, Str prefix, napi_value callback);

}  // namespace moonphase::bind
