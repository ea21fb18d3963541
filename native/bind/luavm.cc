#include "bind/luavm.h"

#include "bind/js_call.h"
#include "bind/napi_util.h"
#include "bind/promise_wait.h"
#include "engine/exec.h"
#include "lua/call.h"
#include "lua/chunks.h"

namespace moonphase::bind {

namespace {

// What is simpler in Lua. Arguments: the C functions below.
constexpr const char kPrelude[] = R"lua(
local done, traceback, call = ...
local ffi = require 'ffi'
local xpcall, error, type, tostring = xpcall, error, type, tostring
local cast, istype, typeof = ffi.cast, ffi.istype, ffi.typeof
local signed, unsigned = typeof 'int64_t', typeof 'uint64_t'
local signed_pointer, unsigned_pointer = typeof 'const int64_t *', typeof 'const uint64_t *'

local function entry(f, ...)
  return done(xpcall(f, traceback, ...))
end

local function make_int64(pointer, is_signed)
  return cast(is_signed and signed_pointer or unsigned_pointer, pointer)[0]
end

local function int64_kind(value)
  if istype(signed, value) then return 1 end
  if istype(unsigned, value) then return 2 end
  if value == nil then return 3 end
end

local function text(value)
  return type(value) == 'table' and tostring(value) or value
end

local js_error = {
  __tostring = function(self) return self.name .. ': ' .. self.message end,
  __concat = function(a, b) return text(a) .. text(b) end,
}

local function check(ok, value)
  if ok then return value end
  -- a text gets the place of the call, an object stays as it is
  return error(value, 3)
end

local function wrapper(ref)
  return function(...)
    local value = check(call(ref, ...))
    return value
  end
end

return entry, make_int64, int64_kind, js_error, wrapper
)lua";

int run_prelude(lua_State* L) {
  VmHost* host = static_cast<VmHost*>(lua_touserdata(L, 1));
  lua_settop(L, 0);
  if (lua::load_source(L, kPrelude, "=moonphase") != 0) return lua_error(L);
  lua_pushcfunction(L, call_done);
  lua_pushcfunction(L, call_traceback);
  lua_pushcfunction(L, call_host_function);
  lua_call(L, 3, 5);
  host->wrapper_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  host->js_error_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  host->is_int64_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  host->int64_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  host->entry_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  if (host->owned()) {
    // No requests share its globals: nobody is to be warned of new ones.
    lua_pushnil(L);
    lua_setmetatable(L, LUA_GLOBALSINDEX);
  }
  return 0;
}

}  // namespace

VmHost::VmHost(Env* env, engine::Runtime* runtime, bool owned)
    : Resource(env), owned_(owned), runtime_(runtime) {}

VmHost::~VmHost() = default;

bool VmHost::open(std::string* error) {
  if (runtime_->current && runtime_->current->vm) gen_ = runtime_->current;
  if (!gen_) {
    *error = "there is no Lua VM: nothing in the configuration uses Lua";
    return false;
  }
  engine::retain(gen_);
  gen_->vm->retain();
  L_ = gen_->vm->L();
  int top = lua_gettop(L_);
  if (lua::protect(L_, run_prelude, this) != 0) {
    *error = std::string(lua::error_text(L_, "unknown error"));
    lua_settop(L_, top);
    return false;
  }
  lua_settop(L_, top);
  return true;
}

void VmHost::unuse() {
  if (--uses_ == 0 && L_ && !env_->closing() && engine::lua_pending_timers(gen_) == 0 &&
      engine::lua_running_timers(gen_) == 0) {
    net::Loop::Scope scope(*env_->loop());
    close();
  }
  release();
}

void VmHost::close() {
  L_ = nullptr;
  if (engine::Generation* gen = gen_) {
    gen_ = nullptr;
    gen->vm->release();
    engine::release(gen);
  }
  if (owned_ && runtime_) {
    runtime_->dispose();
  }
  runtime_ = nullptr;
}

}  // namespace moonphase::bind
