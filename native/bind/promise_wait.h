// A Lua coroutine that waits for a JavaScript promise.
#pragma once

#include "bind/luavm.h"
#include "engine/pending.h"

namespace moonphase::bind {

class PromiseWait final : public engine::Pending {
 public:
  // Within an IntoJs or a call from JavaScript: asks to be told when `promise` settles. Null: that
  // failed.
  static PromiseWait* start(VmHost* host, napi_value promise);
  // `return PromiseWait::yield(L, wait);` in a C function that Lua called. Returns an error where
  // Lua may not wait.
  static int yield(lua_State* L, PromiseWait* wait);
  // JavaScript tells: settled(id, ok, value).
  static napi_value settled(napi_env env, napi_callback_info info);

  // What it resolves to goes to Lua as `require "js"` gives it.
  void keep_objects() { objects_ = true; }
  // What a handler's coroutine waits for: the work of the JsRequest with this number ends with it.
  // (Where a request is destroyed the JsRequest goes first.)
  void serve(uint32_t request) { request_ = request; }

  int results(lua_State* L) override;
  void cancel() override;

 private:
  PromiseWait(VmHost* host, uint32_t id) : host_(host), id_(id) {}
  ~PromiseWait() = default;
  void push_outcome(lua_State* L);
  VmHost* host_;
  uint32_t id_;
  bool ok_ = false, objects_ = false;
  napi_ref value_ = nullptr;
  uint32_t request_ = 0;  // none
};

}  // namespace moonphase::bind
