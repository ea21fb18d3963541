// Syslog servers as the Plan describes them, and messages of processes that have no Lua.
#pragma once

#include "base/syslog.h"
#include "bind/plan_value.h"

namespace moonphase::bind {

SyslogOptions read_syslog(const PlanValue& v);
void define_syslog(napi_env env, napi_value exports);

}  // namespace moonphase::bind
