// The class SharedDict of the binding: the dictionaries that Lua sees as ngx.shared, for
// JavaScript.
#pragma once

#include <node_api.h>

namespace moonphase::bind {

void define_shared_dict(napi_env env, napi_value exports);

}  // namespace moonphase::bind
