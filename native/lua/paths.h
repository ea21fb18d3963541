// package.path and package.cpath, and the searchers that pick one lua-resty-core among those that a
// path may hold.
#pragma once

#include <lua.hpp>

#include <string>

#include "lua/vm.h"

namespace moonphase::lua {

// Sets both paths: `;;` is the default path, `$prefix` and `${prefix}` the prefix.
void set_package_paths(lua_State* L, const VmOptions& options);

// Which lua-resty-core a VM uses: the one in MOONPHASE_LUALIB or in the user's own path if it
// accepts a version that we are, else the bundled one.
struct Lualib {
  std::string root;  // the directory that `resty/core.lua` lies in
  int version = 10028;
  std::string warning;  // why another one was passed over; empty: nothing to say
};
Lualib choose_lualib(const VmOptions& options, const std::string& package_path);
// One behind package.preload for `resty.core*` and `ngx.*`, one behind all others for what is
// bundled.
void add_lualib_searchers(lua_State* L, const Lualib& chosen, const VmOptions& options);

// The number in "ngx_lua_version OP NUMBER" of a base.lua; 0: none.
int version_in_base(Str text);

}  // namespace moonphase::lua
