// Errors of Moonphase for JavaScript: MoonphaseError of lib/errors.ts, with a code of its table.
#pragma once

#include <node_api.h>

#include "base/types.h"

namespace moonphase::bind {

napi_value make_error(napi_env env, const char* code, Str message);
void throw_error(napi_env env, const char* code, Str message);

}  // namespace moonphase::bind
