// What a coroutine waits for: a timer, a socket, DNS, a subrequest, a semaphore, a thread, a pipe, a JavaScript promise.
// There is one protocol: the operation calls `engine::wait`, the event calls `wake`, and whatever dies first calls
// `cancel`.
#pragma once

#include <lua.hpp>

#include "base/types.h"

namespace moonphase::engine {

struct Co;      // engine/lua_ctx.h
struct LuaCtx;

class Pending {
 public:
  // Pushes the results onto `L` (the waiting coroutine) and returns their number. May raise Lua errors.
  virtual int results(lua_State* L) = 0;
  // The waiting coroutine is gone (thread killed, request ended, VM closing): stop, never wake. The object frees itself
  // or is owned elsewhere (a cosocket); after this call nobody touches it.
  virtual void cancel() = 0;

  Co* co = nullptr;  // null when nobody waits

 protected:
  ~Pending() = default;
};

// From a C function that Lua called: marks the running coroutine as waiting for `p` and yields.
// `return engine::wait(L, p);`
int wait(lua_State* L, Pending* p);
// For FFI functions, whose Lua caller yields by coroutine._yield right after: only marks.
void wait_later(lua_State* L, Pending* p);
// The operation is done: resumes the coroutine (now, in a Loop::Scope; nested wake-ups are posted). p->co is null after.
void wake(Pending* p);

}  // namespace moonphase::engine
