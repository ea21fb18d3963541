// What a server process does to itself and Node has no call for: signals, daemon, privileges,
// limits, environment.
#pragma once

#include <node_api.h>

#include <string>

namespace moonphase::bind {

// setgid, initgroups, setuid; nothing where we are not root. On failure *error is a sentence.
bool drop_privileges(const std::string& user, const std::string& group, std::string* error);

void define_process(napi_env env, napi_value exports);

}  // namespace moonphase::bind
