// What a coroutine waits for: a timer, a socket, DNS, a subrequest, a semaphore, a pipe, a
// JavaScript promise. There is one protocol: the operation calls `engine::wait`, the event calls
// `wake`, and whatever dies first calls `cancel`.
#pragma once

#include <lua.hpp>

#include "base/types.h"
#include "net/loop.h"

namespace moonphase::http {
struct Request;
}

namespace moonphase::engine {

struct Co;  // engine/lua_ctx.h
struct LuaCtx;

class Pending {
 public:
  // Pushes the results onto `L`, a stack of the same VM, and returns their number. May raise Lua
  // errors: the coroutine then gets nil and the message. Called once, from `wake` or soon after it;
  // never after `cancel`.
  virtual int results(lua_State* L) = 0;
  // The waiting coroutine is gone (thread killed, request ended, VM closing): stop, never wake. The
  // object frees itself or is owned elsewhere (a cosocket); after this call nobody touches it.
  virtual void cancel() = 0;

  Co* co = nullptr;  // null when nobody waits

 protected:
  ~Pending() = default;
};

// From a C function that Lua called: marks the running coroutine as waiting for `p` and yields.
// `return engine::wait(L, p);` Raises (after p->cancel()) where the coroutine cannot yield.
int wait(lua_State* L, Pending* p);
// Raises "attempt to yield across C-call boundary", as lua_yield does.
int yield_error(lua_State* L);
// For FFI functions, whose Lua caller yields by coroutine._yield right after: only marks.
void wait_later(LuaCtx* ctx, Pending* p);
void wait_later(lua_State* L, Pending* p);
// The operation is done: resumes the coroutine (now, in a Loop::Scope; while Lua runs: after it).
// p->co is null after.
void wake(Pending* p);
// As `wake`, but always after the current callback: for events inside another request's turn.
void wake_later(Pending* p);
// Whoever waits for `p` stops waiting without being resumed (the operation's owner dies).
void forget(Pending* p);

// ngx.sleep: ends by time, without results. Each coroutine has one.
class SleepWait final : public Pending {
 public:
  void start(http::Request* r, uint64_t ms);
  int results(lua_State*) override { return 0; }
  void cancel() override;

 private:
  static void expired(void* self);
  http::Request* r_ = nullptr;
  net::Timer timer_{};
};

}  // namespace moonphase::engine
