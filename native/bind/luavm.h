// A Lua VM as JavaScript sees it: of a `LuaVM` object (a Runtime without listeners), of a gateway,
// or of whatever Lua code asked for JavaScript (`of`). Calls from JavaScript run as requests
// without a client, in coroutines of the one scheduler: a call that does not yield returns at once,
// one that yields returns a promise.
#pragma once

#include <lua.hpp>

#include <memory>
#include <string>

#include "bind/env.h"
#include "engine/lua_ctx.h"
#include "engine/runtime.h"

namespace moonphase::bind {

enum class Strings : uint8_t { kAuto, kBuffer, kLatin1 };
// What JavaScript gets of a Lua function's results: the first one, all in an array, or the first
// with tables as proxies.
enum class Results : uint8_t { kFirst, kAll, kLive };
struct Call;

class VmHost : public Resource {
 public:
  // Takes a runtime that is loaded: its own (LuaVM), which ends with it, or a gateway's.
  VmHost(Env* env, engine::Runtime* runtime, bool owned);
  // Prepares the VM: metatables, the entry function. False with a message.
  bool open(std::string* error);
  // For Lua that calls JavaScript, and for JavaScript handlers: the host that belongs to the VM of
  // `L`, which it does not keep alive. Made on first use; null: *error says why there is none.
  static VmHost* of(lua_State* L, std::string* error);
  void close();
  void env_closing() override { close(); }
  // Memory: whoever points here.
  void retain() { ++refs_; }
  void release() {
    if (--refs_ == 0) delete this;
  }
  // JavaScript can still reach it: its object, functions and proxies, calls under way. The last one
  // gone closes the VM, unless its timers go on.
  void use() {
    ++uses_;
    ++refs_;
  }
  void unuse();

  Env* env() const { return env_; }
  napi_env napi() const { return env_->napi(); }
  bool owned() const { return owned_; }
  bool attached() const { return attached_; }
  bool closed() const { return L_ == nullptr; }
  lua_State* L() const { return L_; }
  lua::Vm* vm() const { return vm_; }
  engine::Generation* generation() const { return gen_; }
  engine::Runtime* runtime() const { return runtime_; }

  Strings strings = Strings::kAuto;
  napi_ref self = nullptr;  // the JavaScript object; weak, but for an attached one

  // Registry references.
  int int64_ref = LUA_NOREF;     // function(pointer, signed): an int64_t or uint64_t
  int is_int64_ref = LUA_NOREF;  // function(cdata): 1 signed, 2 unsigned, nil
  int js_error_ref = LUA_NOREF;  // metatable of errors that JavaScript threw
  int wrapper_ref = LUA_NOREF;   // function(JsRef): a function that calls it
  int handler_ref = LUA_NOREF;   // function(JsRef): a phase's handler
  int async_ref = LUA_NOREF;     // function(JsOp, f, ...): a light thread for JavaScript
  int api_ref = LUA_NOREF;       // what JavaScript handlers may call, by name (js_request.lua)
  Call* calls = nullptr;         // prepared ones, that nobody uses
  Call* waiting = nullptr;       // those that a promise was given for
  uint32_t last_waiting = 0;     // the number of the newest of them

 private:
  ~VmHost() override;
  // The VM of `engine::Generation` g, or a request's own.
  VmHost(Env* env, engine::Generation* g, lua::Vm* vm);
  bool prepare(std::string* error);
  void make_object();
  void end();
  bool owned_, attached_ = false;
  int refs_ = 1, uses_ = 1;
  engine::Runtime* runtime_;
  engine::Generation* gen_ = nullptr;
  lua::Vm* vm_ = nullptr;
  lua_State* L_ = nullptr;
};

// A value that Lua keeps for JavaScript: a function or a table. Released when JavaScript drops it.
struct LuaRef {
  VmHost* host;
  int ref;
  Results results;  // of a function
};

// A value that JavaScript keeps for Lua: a userdata with __gc.
struct JsRef {
  VmHost* host;
  napi_ref ref;
};

// --- values (luavm_push.cc, luavm_read.cc); within an IntoJs or a native call from JavaScript ---
// Pushes one value. False: it cannot be Lua's; nothing is pushed, *error says why.
bool push_js(VmHost* host, lua_State* L, napi_value v, std::string* error);
// Null: the value cannot be JavaScript's.
napi_value to_js(VmHost* host, lua_State* L, int index, std::string* error);
// As `to_js`, but a table becomes a live proxy instead of a copy.
napi_value to_js_live(VmHost* host, lua_State* L, int index, std::string* error);
// Functions both ways (luavm_functions.cc).
napi_value wrap_function(VmHost* host, lua_State* L, int index, Results results);
void push_function(VmHost* host, lua_State* L, napi_value fn);
napi_value wrap_table(VmHost* host, lua_State* L, int index);
// The LuaRef behind a function or proxy of ours; null for everything else.
LuaRef* unwrap(VmHost* host, napi_value v);
// The JavaScript function behind a Lua function made by push_function; null for everything else.
JsRef* host_function(lua_State* L, int index);
// A JavaScript function, called by Lua through a wrapper of luavm.cc, which gets true and the
// result, or false and an error to raise (a coroutine that has waited cannot raise it from here).
// Index 1 is the JsRef, the arguments follow. kWait: *wait is to be yielded for.
enum class Outcome { kReturn, kWait };
Outcome call_host(lua_State* L, class PromiseWait** wait);
int call_host_function(lua_State* L);
// Any JavaScript object as a userdata.
void push_js_ref(VmHost* host, lua_State* L, napi_value v);
JsRef* js_ref(lua_State* L, int index);
// The same as an object of `require "js"`, and what such objects have as metatable.
void push_js_object(VmHost* host, lua_State* L, napi_value v);
void push_object_meta(lua_State* L);
// As push_js, but objects and functions stay JavaScript's (js_module.cc).
bool push_js_value(VmHost* host, lua_State* L, napi_value v, std::string* error);

// --- calls (luavm_call.cc) ---
// A coroutine to put a function and its arguments on; null, with a JavaScript exception pending:
// there is no memory. Then one of the others.
Call* begin_call(VmHost* host);
lua_State* call_stack(const Call* call);
void drop_call(Call* call);
// Runs it. Returns the results, a promise, or null with a JavaScript exception pending.
napi_value run_call(Call* call, int argc, Results results);
// Ends a call that waits, by the number that the last promise has got; `reason` is thrown.
void cancel_call(VmHost* host, uint32_t id, napi_value reason);
// All that wait, for a VM that closes.
void end_waiting_calls(VmHost* host);
void free_calls(VmHost* host);
// For the current coroutine: the async context that JavaScript called Lua in; null outside such a
// call.
napi_async_context call_context(lua_State* L);

// The class LuaVM of the binding (luavm_class.cc).
void define_luavm(napi_env env, napi_value exports);

// --- errors (luavm_errors.cc) ---
// Pushes what Lua code sees of a JavaScript exception.
void push_exception(VmHost* host, lua_State* L, napi_value exception);
// The JavaScript exception for the Lua error value at `index`: the original one where JavaScript
// threw it.
napi_value to_exception(VmHost* host, lua_State* L, int index, const std::string& traceback);

}  // namespace moonphase::bind
