// Handlers of phases that are JavaScript functions (`*_by_js`): for the engine each is a Lua
// function, so that phases, waiting, errors and ngx.exit are what they are for Lua.
#pragma once

#include <node_api.h>
#include <lua.hpp>

#include <memory>

#include "bind/env.h"
#include "engine/plan.h"

namespace moonphase::bind {

// For Plan::js: what lib/phases made of the plan's handlers, in their order.
std::shared_ptr<void> keep_handlers(Env* env, napi_value functions);
// engine::push_js_handler
int push_handler(lua_State* L, const engine::Plan& plan, int index);

}  // namespace moonphase::bind
