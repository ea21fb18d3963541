// One LuaJIT VM: created for a Plan (or a LuaVM object), with package paths, our embedded files and the searchers; closed
// when its last user is gone.
#pragma once

#include <lua.hpp>

#include <string>
#include <vector>

#include "base/types.h"

namespace moonphase::lua {

struct VmOptions {
  std::string package_path, package_cpath;  // of lua_package_path/cpath: ";;" is the default path
  std::string lualib;                       // bundled lualib/ directory
  std::string user_lualib;                  // MOONPHASE_LUALIB
  std::string prefix;                       // "$prefix"/"${prefix}" in the paths
  bool load_resty_core = true;
};

class Vm {
 public:
  // Opens the standard libraries, paths, embedded files. `error` when that fails.
  static Vm* create(const VmOptions& options, std::string* error);
  void retain() { ++refs_; }
  void release();  // closes with the last reference, after the turn
  lua_State* L() const { return L_; }
  static Vm* of(lua_State* L);  // of any coroutine
  void* user = nullptr;         // engine::Generation or null (LuaVM without server)
  int lua_version = 10028;      // what the chosen lua-resty-core insists on

 private:
  Vm() = default;
  lua_State* L_ = nullptr;
  int refs_ = 1;
};

}  // namespace moonphase::lua
