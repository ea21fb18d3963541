#include "lua/vm.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

#include "lua/call.h"
#include "lua/embedded.h"
#include "lua/paths.h"

namespace moonphase::lua {

namespace {

char vm_key;

// Lua C modules look up lua_* among the global symbols; node loads addons locally.
void export_symbols() {
  static const bool once = [] {
    Dl_info info;
    if (dladdr(reinterpret_cast<void*>(&luaL_newstate), &info) && info.dli_fname)
      dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
    return true;
  }();
  (void)once;
}

int panic(lua_State* L) {
  const char* message = lua_tostring(L, -1);
  fprintf(stderr, "moonphase: lua atpanic: Lua VM crashed, reason: %s\n",
          message ? message : "unknown reason");
  abort();
}

struct Setup {
  const VmOptions* options;
  Vm* vm;
  Lualib chosen;
};

int open_vm(lua_State* L) {
  auto* setup = static_cast<Setup*>(lua_touserdata(L, 1));
  const VmOptions& options = *setup->options;
  luaL_openlibs(L);
  set_package_paths(L, options);
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "path");
  setup->chosen = choose_lualib(options, lua_tostring(L, -1));
  setup->vm->lua_version = setup->chosen.version;
  lua_pop(L, 2);
  add_lualib_searchers(L, setup->chosen, options);
  if (options.open) options.open(L);
  return 0;
}

constexpr int kPhasesKnown = 10030;  // from here on lua-resty-core names all phases

void run_embedded(lua_State* L, const char* name) {
  const EmbeddedFile* file = find_embedded(name);
  if (!file) return;
  if (load_embedded(L, *file) != 0) lua_error(L);
  lua_call(L, 0, 0);
}

int load_resty_core(lua_State* L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "resty.core");
  lua_call(L, 1, 0);
  if (Vm::of(L)->lua_version < kPhasesKnown) {
    run_embedded(L, "moonphase/phases.lua");
    run_embedded(L, "moonphase/resp.lua");
    run_embedded(L, "moonphase/socket.lua");
  }
  run_embedded(L, "moonphase/ffi_load.lua");
  run_embedded(L, "moonphase/shared.lua");
  // The last one: resty.core makes globals of its own.
  run_embedded(L, "moonphase/write_guard.lua");
  return 0;
}

std::string pop_error(lua_State* L) {
  std::string text(error_text(L, "unknown error"));
  lua_pop(L, 1);
  return text;
}

}  // namespace

Vm* Vm::create(const VmOptions& options, std::string* error) {
  Vm* vm = make(options, error);
  if (!vm || vm->open(options, error)) return vm;
  delete vm;
  return nullptr;
}

Vm* Vm::make(const VmOptions& options, std::string* error) {
  export_symbols();
  lua_State* L = luaL_newstate();
  if (!L) {
    *error = "failed to initialize Lua VM";
    return nullptr;
  }
  lua_atpanic(L, panic);
  Vm* vm = new Vm();
  vm->L_ = L;
  vm->user = options.user;
  vm->defer_ = options.defer;
  lua_pushlightuserdata(L, &vm_key);
  lua_pushlightuserdata(L, vm);
  lua_rawset(L, LUA_REGISTRYINDEX);
  return vm;
}

bool Vm::open(const VmOptions& options, std::string* error) {
  Setup setup{&options, this, {}};
  if (protect(L_, open_vm, &setup) != 0) {
    *error = "failed to initialize Lua VM: " + pop_error(L_);
    return false;
  }
  if (!setup.chosen.warning.empty() && options.log)
    log_write(*options.log, nullptr, kLogWarn, 0, "[lua] %s", setup.chosen.warning.c_str());
  if (options.load_resty_core && protect(L_, load_resty_core, nullptr) != 0) {
    *error =
        "failed to load the 'resty.core' module (https://github.com/openresty/lua-resty-core); "
        "ensure you are using "
        "an OpenResty release from https://openresty.org/en/download.html (reason: " +
        pop_error(L_) + ")";
    return false;
  }
  return true;
}

Vm::~Vm() {
  while (!closers_.empty()) {
    Closer closer = closers_.back();
    closers_.pop_back();
    closer.fn(closer.data);
  }
  lua_close(L_);
}

void Vm::release() {
  if (--refs_ > 0) return;
  if (defer_) {
    defer_(close, this);
  } else {
    close(this);
  }
}

void Vm::release_now() {
  if (--refs_ == 0) close(this);
}

Vm* Vm::of(lua_State* L) {
  lua_pushlightuserdata(L, &vm_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  auto* vm = static_cast<Vm*>(lua_touserdata(L, -1));
  lua_pop(L, 1);
  return vm;
}

}  // namespace moonphase::lua
