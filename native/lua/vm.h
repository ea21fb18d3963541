// One LuaJIT VM: created for a Plan (or a LuaVM object), with package paths, our embedded files and
// the searchers; closed when its last user is gone.
#pragma once

#include <lua.hpp>

#include <string>
#include <vector>

#include "base/log.h"
#include "base/types.h"

namespace moonphase::lua {

struct VmOptions {
  std::string package_path, package_cpath;  // of lua_package_path/cpath: ";;" is the default path
  std::string lualib;                       // bundled lualib/ directory
  std::string user_lualib;                  // MOONPHASE_LUALIB
  std::string prefix;                       // "$prefix"/"${prefix}" in the paths
  bool load_resty_core = true;
  // Makes the `ngx` table before resty.core is loaded; called protected, may raise Lua errors.
  void (*open)(lua_State* L) = nullptr;
  void* user = nullptr;  // Vm::user
  const Log* log = nullptr;
  // How to run something after the loop turn (net::Loop::defer_free); null: at once.
  void (*defer)(void (*fn)(void*), void* data) = nullptr;
};

class Vm {
 public:
  // Opens the standard libraries, paths, embedded files. `error` when that fails.
  static Vm* create(const VmOptions& options, std::string* error);
  // The two halves of it, for a VM that another thread opens: an empty one, which has a stack, and
  // the rest. False with *error; the VM is of no use then.
  static Vm* make(const VmOptions& options, std::string* error);
  bool open(const VmOptions& options, std::string* error);
  void retain() { ++refs_; }
  void release();      // closes with the last reference, after the turn
  void release_now();  // the same, at once: no frame of it is on the stack
  int refs() const { return refs_; }
  lua_State* L() const { return L_; }
  static Vm* of(lua_State* L);  // of any coroutine
  // Runs before the VM closes, last registered first: pools, caches.
  void on_close(void (*fn)(void*), void* data) { closers_.push_back({fn, data}); }

  void* user = nullptr;     // engine::Generation or null (LuaVM without server)
  int lua_version = 10028;  // what the chosen lua-resty-core insists on

 private:
  struct Closer {
    void (*fn)(void*);
    void* data;
  };
  Vm() = default;
  ~Vm();
  static void close(void* vm) { delete static_cast<Vm*>(vm); }
  lua_State* L_ = nullptr;
  int refs_ = 1;
  void (*defer_)(void (*fn)(void*), void* data) = nullptr;
  std::vector<Closer> closers_;
};

}  // namespace moonphase::lua
