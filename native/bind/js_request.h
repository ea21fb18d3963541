// A request while a JavaScript handler works at it: what the handler does to it are calls of Lua
// functions (lua/moonphase/js_request.lua), on the request's behalf. JavaScript knows it by a
// number.
#pragma once

#include "bind/luavm.h"
#include "engine/pending.h"

namespace moonphase::engine {
struct SideRun;
}

namespace moonphase::bind {

class JsOp;

class JsRequest {
 public:
  // For what runs on L now (a request, or init_by_lua, which has none).
  static JsRequest* open(VmHost* host, lua_State* L);
  // The handler has ended; `cancelled`: by force, JavaScript may go on without us. May free it.
  void end(bool cancelled);
  static void end(Env* env, uint32_t id, bool cancelled);  // if it is still there

  static JsRequest* find(Env* env, napi_value id);
  uint32_t id() const { return id_; }
  // call(id, name, …): calls a function of the API that does not wait.
  static napi_value call(napi_env env, napi_callback_info info);
  // run(id, name, …): one that may wait, in a light thread; a promise.
  static napi_value run(napi_env env, napi_callback_info info);
  // cancelled(id): a promise that resolves to true when the handler is ended by force, else to
  // false.
  static napi_value cancelled(napi_env env, napi_callback_info info);

 private:
  friend class JsOp;
  JsRequest(VmHost* host, engine::LuaCtx* ctx, uint32_t id);
  ~JsRequest();
  static void ctx_gone(void* self);
  bool push_function(lua_State* L, napi_value name, std::string* error);
  void reject_ops();
  void settle_watch(bool cancelled);
  void free_if_idle();

  VmHost* host_;
  engine::LuaCtx* ctx_;  // null: gone, or there is none
  engine::SideRun* side_;
  uint32_t id_;
  bool ended_ = false;
  Arena::Cleanup* cleanup_ = nullptr;
  JsOp* ops_ = nullptr;
  napi_deferred watch_ = nullptr;
};

int js_handler_run(lua_State* L);  // (JsRef, …): runs the handler
int js_op_done(lua_State* L);      // the end of a light thread

void define_js_request(napi_env env, napi_value exports);

}  // namespace moonphase::bind
