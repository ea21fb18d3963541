// A request's (or timer's, or init_worker's) life in Lua: its coroutines, what it waits for, how it wants to end.
#pragma once

#include <lua.hpp>

#include "base/buf.h"
#include "engine/pending.h"
#include "engine/phases.h"
#include "engine/plan.h"
#include "http/request.h"

namespace moonphase::engine {

struct LuaCtx;
struct Generation;  // engine/runtime.h

// A coroutine known to the scheduler: a phase's entry thread, a light thread, or a user coroutine.
struct Co {
  lua_State* L = nullptr;
  int ref = LUA_NOREF;  // anchors it (registry table of coroutines)
  LuaCtx* ctx = nullptr;
  Co* parent = nullptr;      // who resumed or spawned it
  Pending* pending = nullptr;
  enum Status : uint8_t { kRunning = 0, kSuspended, kNormal, kDead, kZombie } status = kRunning;
  enum Op : uint8_t { kNop = 0, kResume, kYield } op = kNop;  // why it yielded to the scheduler
  bool is_uthread = false, is_wrap = false, waited_by_parent = false, thread_spawn_yielded = false,
       propagate_error = false, sem_resume = false, flushing = false, req_body_reader = false;
  Co* zombie_next = nullptr;  // of its parent: dead, results not yet waited for
  Co* next = nullptr;         // all of the ctx
  Co* prev = nullptr;
  Co* posted_next = nullptr;
  int nresults = 0;
};

// What runs Lua and is not a client's request has a request of its own kind (`fake`), as in OpenResty.
struct LuaCtx {
  http::Request* r = nullptr;
  Generation* gen = nullptr;
  uint32_t phase = 0;        // PhaseBit of the handler that runs
  Co* entry = nullptr;
  Co* current = nullptr;
  Co* coroutines = nullptr;  // all but entry
  Co* posted_head = nullptr; // to be resumed in order
  Co* posted_tail = nullptr;
  int uthreads = 0;          // light threads alive
  Co* on_abort = nullptr;
  int ctx_ref = LUA_NOREF;   // ngx.ctx, in the registry table ngx_lua_ctx_tables
  void (*resume_handler)(LuaCtx*) = nullptr;
  int (*finish)(LuaCtx*, int rc) = nullptr;  // what the phase does when its coroutine ended later

  // how Lua asked to end
  bool exited = false;
  int exit_code = 0;
  Str exec_uri, exec_args;

  // output
  bool header_sent = false, eof = false, buffering = false, headers_set = false, seen_last_in_filter = false,
       seen_last_for_subreq = false, seen_body_data = false, mime_set = false;
  Chain* out = nullptr;       // HTTP/1.0 buffering
  Chain* busy = nullptr;
  Chain* free = nullptr;
  Chain* filter_in = nullptr; // body_filter's current input (ngx.arg)
  bool filter_last = false;

  // capture (ngx.location.capture collects a subrequest's answer)
  bool capture = false;
  Chain* body = nullptr;
  Chain** last_body = nullptr;

  // set_by_lua
  const Handler* set_handler = nullptr;
  Str* set_args = nullptr;  // evaluated, as many as set_handler->args

  bool entered_rewrite = false, entered_access = false, entered_precontent = false, entered_content = false,
       entered_server_rewrite = false;
  bool waiting_more_body = false, read_body_done = false, acquired_raw_req_socket = false, context_init = false,
       no_abort = false, client_abort = false, run_post_subrequest = false;
  bool is_timer = false;
  Pending* body_wait = nullptr;  // the coroutine in ngx.req.read_body
};

// The ctx of the request, made on first use.
LuaCtx* lua_ctx(http::Request* r);
// The request and ctx that the running Lua code belongs to (thread.exdata of the coroutine); null in init_by_lua.
http::Request* request_of(lua_State* L);
inline LuaCtx* ctx_of(http::Request* r) { return static_cast<LuaCtx*>(r->lua); }

}  // namespace moonphase::engine
