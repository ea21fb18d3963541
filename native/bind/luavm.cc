#include "bind/luavm.h"

#include "bind/js_call.h"
#include "bind/js_request.h"
#include "bind/napi_util.h"
#include "bind/promise_wait.h"
#include "engine/exec.h"
#include "lua/call.h"
#include "lua/chunks.h"

namespace moonphase::bind {

namespace {

char host_key;  // registry: the host that belongs to the VM

// What is simpler in Lua. Arguments: the C functions below.
constexpr const char kPrelude[] = R"lua(
local call, run_handler, op_done = ...
local ngx = ngx
local ffi = require 'ffi'
local pcall, error, type, tostring = pcall, error, type, tostring
local cast, istype, typeof = ffi.cast, ffi.istype, ffi.typeof
local signed, unsigned = typeof 'int64_t', typeof 'uint64_t'
local signed_pointer, unsigned_pointer = typeof 'const int64_t *', typeof 'const uint64_t *'

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

-- What the handler in JavaScript asks for is done here, in its coroutine.
local function finish(ok, result)
  if not ok then return error(result, 0) end
  if result == nil then return end
  local action, a, b = result[1], result[2], result[3]
  if action == 'return' then return a end
  if action == 'error' then return error(a, 0) end
  if b == nil then return ngx[action](a) end
  return ngx[action](a, b)
end

local function handler(ref)
  return function(...) return finish(run_handler(ref, ...)) end
end

local function async(op, f, ...)
  return op_done(op, pcall(f, ...))
end

return make_int64, int64_kind, js_error, wrapper, handler, async
)lua";

int run_prelude(lua_State* L) {
  VmHost* host = static_cast<VmHost*>(lua_touserdata(L, 1));
  lua_settop(L, 0);
  if (lua::load_source(L, kPrelude, "=moonphase") != 0) return lua_error(L);
  lua_pushcfunction(L, call_host_function);
  lua_pushcfunction(L, js_handler_run);
  lua_pushcfunction(L, js_op_done);
  lua_call(L, 3, 6);
  host->async_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  host->handler_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  host->wrapper_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  host->js_error_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  host->is_int64_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  host->int64_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  if (host->owned() || host->attached()) {
    lua_pushlightuserdata(L, &host_key);
    lua_pushlightuserdata(L, host);
    lua_rawset(L, LUA_REGISTRYINDEX);
  }
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

VmHost::VmHost(Env* env, engine::Generation* g, lua::Vm* vm)
    : Resource(env), owned_(false), attached_(true), runtime_(g->runtime), gen_(g), vm_(vm) {}

VmHost::~VmHost() = default;

bool VmHost::open(std::string* error) {
  if (runtime_->current && runtime_->current->vm) gen_ = runtime_->current;
  if (!gen_) {
    *error = "there is no Lua VM: nothing in the configuration uses Lua";
    return false;
  }
  engine::retain(gen_);
  vm_ = gen_->vm;
  vm_->retain();
  return prepare(error);
}

bool VmHost::prepare(std::string* error) {
  L_ = vm_->L();
  int top = lua_gettop(L_);
  bool ok = lua::protect(L_, run_prelude, this) == 0;
  if (!ok) *error = std::string(lua::error_text(L_, "unknown error"));
  lua_settop(L_, top);
  if (ok && owned_) {
    // Lua code that still runs after close() finds a closed host, not none.
    retain();
    vm_->on_close([](void* p) { static_cast<VmHost*>(p)->release(); }, this);
  }
  return ok;
}

VmHost* VmHost::of(lua_State* L, std::string* error) {
  lua_pushlightuserdata(L, &host_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  auto* known = static_cast<VmHost*>(lua_touserdata(L, -1));
  lua_pop(L, 1);
  if (known) return known;
  Env* env = Env::current();
  lua::Vm* vm = lua::Vm::of(L);
  engine::Generation* g = engine::generation_of(L);
  if (!env || env->closing() || !vm || !g || !g->runtime) {
    *error = "JavaScript does not run in this thread";
    return nullptr;
  }
  IntoJs js(env);
  auto* host = new VmHost(env, g, vm);
  vm->on_close(
      [](void* p) {
        auto* h = static_cast<VmHost*>(p);
        h->close();
        h->release();
      },
      host);
  if (!js.ok() || !host->prepare(error)) {
    if (error->empty()) *error = "JavaScript does not run any more";
    return nullptr;
  }
  host->make_object();
  return host;
}

// The object of class LuaVM that lib/luavm.ts knows this VM by.
void VmHost::make_object() {
  napi_value constructor = nullptr, external = nullptr, object = nullptr;
  napi_env env = napi();
  napi_get_reference_value(env, env_->luavm_class, &constructor);
  napi_create_external(env, this, nullptr, nullptr, &external);
  if (napi_new_instance(env, constructor, 1, &external, &object) == napi_ok)
    napi_create_reference(env, object, 1, &self);
}

void VmHost::unuse() {
  if (--uses_ == 0 && L_ && !attached_ && !env_->closing() &&
      engine::lua_pending_timers(gen_) == 0 && engine::lua_running_timers(gen_) == 0) {
    net::Loop::Scope scope(*env_->loop());
    close();
  }
  release();
}

void VmHost::close() {
  if (attached_) {
    L_ = nullptr;
    if (self && !env_->closing()) napi_delete_reference(napi(), self);
    self = nullptr;
    return;
  }
  if (L_) free_calls(this);
  L_ = nullptr;
  if (engine::Generation* gen = gen_) {
    gen_ = nullptr;
    vm_->release();
    engine::release(gen);
  }
  if (owned_ && runtime_) {
    if (env_->closing()) {
      runtime_->dispose();
    } else {
      // What JavaScript closes may be what has called it.
      retain();
      env_->loop()->defer_free([](void* self) { static_cast<VmHost*>(self)->end(); }, this);
      return;
    }
  }
  runtime_ = nullptr;
}

void VmHost::end() {
  if (runtime_) {
    if (!env_->closing()) end_waiting_calls(this);
    runtime_->dispose();
    runtime_ = nullptr;
  }
  release();
}

}  // namespace moonphase::bind
