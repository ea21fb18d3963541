// All state of the addon in one Node environment (main thread or worker_thread): its loop, what is
// open in it, and how it ends. A worker_thread may be terminated at any moment: the cleanup hook
// closes everything without running JavaScript.
#pragma once

#include <node_api.h>

#include <unordered_map>

#include "net/loop.h"

namespace moonphase::bind {

class Env;

// Something that lives in an Env and has to end with it: a gateway, a LuaVM, a signal watcher.
class Resource {
 public:
  Resource(const Resource&) = delete;
  Resource& operator=(const Resource&) = delete;
  // The env is going away: stop, close handles, run no JavaScript. Called once, or never when the
  // object went before.
  virtual void env_closing() = 0;

 protected:
  explicit Resource(Env* env);
  virtual ~Resource();
  Env* const env_;

 private:
  friend class Env;
  Resource *next_ = nullptr, **link_ = nullptr;
};

class Env {
 public:
  static Env* init(napi_env env);
  static Env* of(napi_env env);
  // Of this thread; null: it has none (a thread of ngx.run_worker_thread), or that has ended.
  static Env* current();

  napi_env napi() const { return napi_; }
  net::Loop* loop() const { return loop_; }
  // JavaScript cannot run any more.
  bool closing() const { return closing_; }
  void set_closing();

  // Keep the process alive while something is held (a gateway that listens, a promise that
  // JavaScript waits for).
  void hold();
  void unhold();

  // How many native calls from JavaScript are on the stack; 0: the loop called us.
  int js_depth = 0;
  // The async context of what has none of its own, and the scope that is open in this loop turn
  // (js_call.cc).
  napi_async_context context = nullptr;
  napi_callback_scope turn_scope = nullptr;
  napi_handle_scope turn_handles = nullptr;
  net::Posted turn_end{};

  // Things that JavaScript gave at start (lib/binding.ts): see setup() in addon.cc.
  napi_ref make_error = nullptr;     // (message, luaStack, value): LuaError
  napi_ref make_coded = nullptr;     // (code, message): MoonphaseError
  napi_ref watch_promise = nullptr;  // (promise, id): calls settled(id, ok, value)
  napi_ref make_proxy = nullptr;     // (vm, handle): a live view of a Lua table
  napi_ref luavm_class = nullptr;
  napi_ref js_helpers = nullptr;  // what `require "js"` does in JavaScript: lib/js.ts

  // Promises that Lua waits for, by the number that JavaScript knows them by.
  std::unordered_map<uint32_t, class PromiseWait*> promises;
  uint32_t next_promise = 1;

  // Requests that a JavaScript handler works at, by the number that JavaScript knows them by.
  std::unordered_map<uint32_t, class JsRequest*> requests;
  uint32_t next_request = 1;

 private:
  friend class Resource;
  explicit Env(napi_env env) : napi_(env) {}
  static void on_cleanup(napi_async_cleanup_hook_handle handle, void* data);
  void close();
  static void on_turn(uv_timer_t* timer);

  napi_env napi_;
  net::Loop* loop_ = nullptr;
  Resource* resources_ = nullptr;
  napi_async_cleanup_hook_handle hook_ = nullptr;
  uv_timer_t turns_{};
  int turns_left_ = 0;
  int holds_ = 0;
  bool closing_ = false;
};

// Around the body of every native function that JavaScript calls and that may run Lua or touch the
// engine.
class FromJs {
 public:
  explicit FromJs(Env* env) : depth_(env), scope_(*env->loop()) {}
  FromJs(const FromJs&) = delete;
  FromJs& operator=(const FromJs&) = delete;

 private:
  // Outlives scope_: what was posted runs with JavaScript still on the stack.
  struct Depth {
    explicit Depth(Env* e) : env(e) { ++env->js_depth; }
    ~Depth() { --env->js_depth; }
    Env* env;
  } depth_;
  net::Loop::Scope scope_;
};

}  // namespace moonphase::bind
