// The modules that nginx takes in from outside: each has its configuration in LocConf::module and
// its own state in Request::ctx, by the numbers of engine::Module.
#pragma once

namespace moonphase::engine {

// Puts handlers, filters and variables in their tables; once in a process, before any Plan is
// sealed.
void register_modules();

}  // namespace moonphase::engine
