// Handlers that run inside of another phase's call have coroutines of their own and may wait: those
// of a handshake with a server (upstream_tls_lua.cc), and, with lua_phase_capabilities extended,
// those of a filter, log, set, balancer.
#pragma once

#include "engine/exec.h"
#include "engine/runtime.h"

namespace moonphase::engine {

// One such handler under way. Lies in the request's arena and is used again.
struct SideRun {
  LuaCtx* ctx = nullptr;
  Run run;  // in place: what it has interrupted; else its own
  SideRun *next = nullptr, *prev = nullptr;
  // After a wait: all its coroutines have ended (kOk, kError, ngx.exit's code). It is in place and
  // has to call close_side; the ctx may be gone afterwards.
  void (*ended)(SideRun*, int rc) = nullptr;
  void* data = nullptr;
  bool failed = false;  // an error; it has been logged
  int code = 0;         // what body_filter_by_lua's function has returned
  Str value;            // what set_by_lua's has
};

// A coroutine whose output waits for a filter: ngx.say goes on when it is through.
struct OutputWait;

// What a ctx has for them; see held_output.cc for the second half.
struct ExtendedState {
  SideRun* sides = nullptr;
  SideRun* spare = nullptr;

  SideRun* body = nullptr;            // the body filter that waits
  http::HeldChunk* chunks = nullptr;  // its input, behind what it works at
  OutputWait* waiting = nullptr;
  bool failed = false;  // a filter has failed after a wait
  bool ends = false;    // finalize_request(r, end_code) was called meanwhile
  int end_code = 0;
};

inline bool extended(const LuaCtx* ctx) { return ctx->gen->plan->lua.extended_capabilities; }
ExtendedState* extended_state(LuaCtx* ctx);

// Puts a new run in place; close_side gives the interrupted one back.
SideRun* open_side(LuaCtx* ctx, uint32_t phase, void (*ended)(SideRun*, int rc));
void close_side(SideRun* s);
// Ends one that waits.
void abort_side(SideRun* s);
// Runs the function below `nargs` values on the VM's stack as the entry coroutine. kAgain: it
// waits, `ended` will be called, and the interrupted run is in place again; kDone: the ctx is gone;
// else as `ended` gets it.
int begin_side(SideRun* s, int nargs);

// For the scheduler: a coroutine of a side run goes on; its entry has ended, or failed.
void resume_side(Co* co, int nargs);
void keep_side_result(LuaCtx* ctx, lua_State* L);
void fail_side(LuaCtx* ctx, const char* kind, const std::string& text);

// Puts the run of a coroutine that waits in place while something is done for it from outside;
// null, or in place already: does nothing.
class InPlace {
 public:
  explicit InPlace(SideRun* s);
  ~InPlace();
  InPlace(const InPlace&) = delete;
  InPlace& operator=(const InPlace&) = delete;

 private:
  SideRun* side_;
};

// Ends what waits, except in these phases (PhaseBit).
void end_sides(LuaCtx* ctx, uint32_t except);
// The same, with their own runs, for all ctxs of a main request: only log handlers go on.
void end_all_but_log(http::Request* main);

// --- held_output.cc ---
int extended_header_filter(LuaCtx* ctx, const Handler* h);
int extended_body_filter(LuaCtx* ctx, Chain* in);
// From a C function of Lua that has sent something: true, when `*result` is to be returned (the
// coroutine waits for the filter).
bool wait_for_filter(lua_State* L, LuaCtx* ctx, int* result);
// The request ends while a filter waits: true, when finalize_request is called again after it.
bool end_later(http::Request* r, int rc);

}  // namespace moonphase::engine
