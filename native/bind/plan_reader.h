// A Plan of lib/conf/plan.ts in native form.
#pragma once

#include <node_api.h>

#include <memory>
#include <string>

#include "engine/plan.h"

namespace moonphase::bind {

// Null: *error says what is wrong with it.
std::unique_ptr<engine::Plan> read_plan(napi_env env, napi_value plan, std::string* error);

// Exports regexError(pattern, caseless).
void define_plan_reader(napi_env env, napi_value exports);

}  // namespace moonphase::bind
