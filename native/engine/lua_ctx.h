// A request's (or timer's, or init_worker's) life in Lua: its coroutines, what it waits for, how it
// wants to end.
#pragma once

#include <lua.hpp>

#include "base/buf.h"
#include "engine/pending.h"
#include "engine/phases.h"
#include "engine/plan.h"
#include "http/request.h"
#include "lua/vm.h"

namespace moonphase::engine {

struct LuaCtx;
class ReqSocket;       // engine/sockets/req_socket.h
struct SideRun;        // engine/side_run.h
struct ExtendedState;  // engine/side_run.h
struct InitRun;        // engine/exec.h
struct Generation;     // engine/runtime.h

// A coroutine known to the scheduler: a phase's entry thread, a light thread, or a user coroutine.
// Lies in a table of its Generation that only grows, so that a stale pointer in a lua_State
// (exdata2) can be looked at: see co_of.
struct Co {
  enum Status : uint8_t { kRunning = 0, kSuspended, kNormal, kDead, kZombie };

  lua_State* L = nullptr;  // may be collected already when `ref` is LUA_NOREF and it is not running
  int ref = LUA_NOREF;     // anchors it (registry table of coroutines): entry and light threads
  Status status = kRunning;
  bool is_uthread = false, is_wrap = false;
  bool waited_by_parent = false;  // parent is in ngx.thread.wait for it
  bool thread_spawn_yielded =
      false;                     // resumed after ngx.thread.spawn: the new thread is its one result
  bool propagate_error = false;  // the coroutine.wrap'ped one below died: its error goes on here
  bool ready = false;            // woken, in the queue of wake_later
  bool posted = false;           // in ctx->posted
  LuaCtx* ctx = nullptr;
  SideRun* side = nullptr;  // the run that it belongs to
  Co* parent = nullptr;     // who resumed or spawned it; null: dead
  Co* child = nullptr;      // the user coroutine that it runs now
  int nresults = 0;         // of a zombie: the values on its stack's top
  Pending* pending = nullptr;
  Co* zombies = nullptr;  // its light threads that have ended and were not waited for, in order
  Co* zombies_tail = nullptr;
  Co* zombie_next = nullptr;
  int threads = 0;      // light threads that name it as parent
  int subrequests = 0;  // captures under way: cannot be killed
  Co* next = nullptr;   // all of the ctx; the free list
  Co* prev = nullptr;
  Co* posted_next = nullptr;
  Co* ready_next = nullptr;
  SleepWait sleep;
};

// exdata2 of a light thread that was waited for or killed.
void* dead_thread();

// Notices that a ctx is destroyed while a frame works with it: stands on the stack of whoever runs
// Lua.
struct CtxGuard {
  explicit CtxGuard(LuaCtx* ctx);
  ~CtxGuard();
  CtxGuard(const CtxGuard&) = delete;
  CtxGuard& operator=(const CtxGuard&) = delete;
  bool alive() const { return ctx != nullptr; }
  LuaCtx* ctx;
  CtxGuard* below;
};

// What of a ctx belongs to one phase that runs coroutines. A handler that runs inside of another
// phase's call (engine/side_run.h) puts its own in place and gives the other back when it waits or
// ends.
struct Run {
  uint32_t phase = 0;         // PhaseBit of the handler that runs; changed by enter_phase only
  uint32_t caps = 0;          // what that phase may do (Capability)
  SideRun* side = nullptr;    // null: the request's own run
  Co* entry = nullptr;        // null: ended
  Co* current = nullptr;      // null: nothing of this run runs
  Co* coroutines = nullptr;   // all but entry
  Co* posted_head = nullptr;  // to be resumed in order
  Co* posted_tail = nullptr;
  enum Op : uint8_t {
    kNop = 0,
    kResume,
    kYield,
    kSpawn
  } op = kNop;       // why `current` yielded to the scheduler
  int op_args = 0;   // values for the coroutine that is resumed or spawned
  int uthreads = 0;  // light threads alive or not waited for
  Co* on_abort = nullptr;
  // What the phase does when its coroutines have ended after waiting: kOk, kError, a status. Must
  // not be null while anything waits. The ctx may be gone afterwards.
  void (*finish)(LuaCtx*, int rc) = nullptr;

  // how Lua asked to end
  bool exited = false;
  int exit_code = 0;
  Str exec_uri, exec_args;

  Chain* filter_in = nullptr;  // body_filter's current input (ngx.arg)
  Str* set_args = nullptr;     // set_by_lua's, evaluated
  int set_nargs = 0;

  bool entered_rewrite = false, entered_access = false, entered_precontent = false,
       entered_content = false, entered_server_rewrite = false;
};

// Who calls Lua from outside and takes what its entry coroutine gives.
struct EntryWatch {
  void (*ended)(LuaCtx* ctx, lua_State* L);   // the results are all that is on the stack
  void (*failed)(LuaCtx* ctx, lua_State* L);  // the error is on top, the frames are below
};

// What runs Lua and is not a client's request has a request of its own kind (`fake`), as in
// OpenResty.
struct LuaCtx : Run {
  http::Request* r = nullptr;
  Generation* gen = nullptr;
  lua::Vm* vm = nullptr;    // the generation's, or the request's own (lua_code_cache off)
  bool holds_vm = false;    // captures have their main request's
  int ctx_ref = LUA_NOREF;  // ngx.ctx, in the registry table ngx_lua_ctx_tables
  CtxGuard* guard = nullptr;
  void* host = nullptr;               // bind: the call from JavaScript that this is
  const EntryWatch* watch = nullptr;  // of that call
  InitRun* init = nullptr;            // init_by_lua or init_worker_by_lua that may wait
  ExtendedState* extended = nullptr;  // with lua_phase_capabilities extended, once a phase needs it
  LuaCtx* next_of_main = nullptr;  // extended: the others of the main request and its subrequests

  // output
  bool header_sent = false, eof = false, buffering = false, headers_set = false,
       seen_last_in_filter = false, seen_last_for_subreq = false, seen_body_data = false,
       mime_set = false;
  Chain* out = nullptr;     // HTTP/1.0 buffering
  Chain* parked = nullptr;  // one small link, until more or the end comes (lua_send_chain)
  Chain* busy = nullptr;
  Chain* free = nullptr;
  Chain* filter_held = nullptr;  // input that came while the socket was full
  Chain* filter_busy = nullptr;
  struct FlushWait* flushing = nullptr;  // coroutines in ngx.flush(true)

  // capture (ngx.location.capture collects a subrequest's answer)
  bool capture = false;
  Chain* body = nullptr;
  Chain** last_body = nullptr;

  bool waiting_more_body = false, read_body_done = false, acquired_raw_req_socket = false,
       context_init = false, no_abort = false, client_abort = false, run_post_subrequest = false;
  bool is_timer = false;
  bool fake = false;                // no client
  ReqSocket* downstream = nullptr;  // ngx.req.socket's that gets the client's events
  Pending* body_wait = nullptr;     // the coroutine in ngx.req.read_body

  lua_State* L() const { return vm->L(); }
};

// The phase that runs now; returns the one before, for filters that interrupt it.
uint32_t enter_phase(LuaCtx* ctx, uint32_t bit);
// The ctx of the request, made on first use; null when its VM could not be made (logged: answer
// 500).
LuaCtx* lua_ctx(http::Request* r);
// The request and ctx that the running Lua code belongs to (thread.exdata of the coroutine); null
// in init_by_lua.
inline http::Request* request_of(lua_State* L) {
  return static_cast<http::Request*>(lua_getexdata(L));
}
inline LuaCtx* ctx_of(http::Request* r) { return static_cast<LuaCtx*>(r->lua); }

}  // namespace moonphase::engine
