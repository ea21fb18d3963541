// Running Lua handlers: one entry per phase, one scheduler loop.
#pragma once

#include <string>

#include "engine/lua_ctx.h"

namespace moonphase::engine {

// --- entries of the phase table and of the filters; the codes are those of nginx phase handlers
// ---
int lua_server_rewrite_handler(Request* r);
int lua_rewrite_handler(Request* r);
int lua_access_handler(Request* r);
int lua_precontent_handler(Request* r);
int lua_content_handler(Request* r);
int lua_header_filter(Request* r);
int lua_body_filter(Request* r, Chain* in);
int lua_capture_header_filter(Request* r);
int lua_capture_body_filter(Request* r, Chain* in);
void register_lua_filters();  // the four above, in their slots
int lua_log_handler(Request* r);
// A set_by_lua that waits; the caller fills it in when lua_set_handler has returned kAgain
// (extended).
struct SetWait {
  void (*done)(SetWait*, int rc, Str value) = nullptr;
  void* data = nullptr;
};
int lua_set_handler(Request* r, const Handler* h, Str* args, int nargs, Str* value, SetWait** wait);
// init_by_lua or init_worker_by_lua. kAgain: it waits (extended), and `done` will be called, with
// kOk or kError, unless cancel_init is; kError: `error` says why, nothing is logged.
struct InitRun {
  void (*done)(InitRun*, int rc) = nullptr;
  void* data = nullptr;
  std::string error;
  const char* directive = nullptr;
  const Handler* handler = nullptr;
  Request* r = nullptr;  // while it waits
};
int lua_init(Generation* g, InitRun* run);
int lua_init_worker(Generation* g, InitRun* run);
void cancel_init(InitRun* run);
void lua_exit_worker(Generation* g);

// --- VMs ---
// Pushes the Lua function that calls handler `index` of Plan::js, or an error message: a Lua
// status. bind puts it here when the addon is loaded.
extern int (*push_js_handler)(lua_State* L, const Plan& plan, int index);
// Adds the ngx API to a new VM: ngx/api.h's open_all, which bind puts here when the addon is
// loaded.
extern void (*lua_open_api)(lua_State* L);
// A VM for the generation's plan, with its paths and the API; resty.core is loaded. Null with
// *error.
lua::Vm* make_vm(Generation* g, std::string* error);
void release_vm(Generation* g, lua::Vm* vm);
// The generation's own VM, when nothing of the generation is left.
void close_vm(Generation* g);
// init_by_lua in this VM. kError: *error says why.
int lua_run_init(lua::Vm* vm, Generation* g, std::string* error);
// The ctx of a request without a client; takes over a reference to the VM.
LuaCtx* make_fake_ctx(Request* r, lua::Vm* vm, uint32_t phase);
// The generation that a VM was made for; null: a LuaVM without server.
Generation* generation_of(lua_State* L);
// ngx.worker.exiting() is true from now on: pending timers fire at once, premature.
void lua_abort_timers(Generation* g);
// Forgets pending timers without running them.
void lua_drop_timers(Generation* g);
int lua_pending_timers(const Generation* g);
int lua_running_timers(const Generation* g);

// --- running ---
// Pushes the handler's function (loaded and cached unless the code cache is off); kOk, kError, or
// 404 and 503 for files that cannot be opened. Logged in lua-nginx-module's words.
int push_handler(LuaCtx* ctx, const Handler* h);
// Calls the function below `nargs` values on the VM's stack, which may not wait. Its one result, or
// the error (logged: "failed to run WHAT"), is left there.
int call_handler(LuaCtx* ctx, int nargs, const char* what);
// The scheduler: resumes ctx->current with `nargs` values on its stack and goes on until everything
// waits or has ended. kAgain: waits; kOk; kError; kDone: the request went elsewhere; a status.
// (ngx_http_lua_run_thread)
int run_thread(LuaCtx* ctx, int nargs);
// Then what was posted meanwhile (ngx_http_lua_run_posted_threads). kDone: waits, or the ctx is
// gone.
int run_posted_threads(LuaCtx* ctx);
// Both, then ctx->finish unless something waits: for a coroutine that goes on after an event.
void resume_co(Co* co, int nargs);
// resume_co in two halves, for calls from JavaScript: Lua's status, and what follows from it.
// Between them the results of a coroutine that has ended are on its stack; if it leaves nothing
// behind (entry_idle) it can be resumed with another function, without the second half.
int resume_entry(Co* co, int nargs);
void after_entry(Co* co, int status);
bool entry_idle(const Co* co);
// Entry coroutine of a phase: its function is moved from the VM's stack top.
Co* start_entry(LuaCtx* ctx, uint32_t phase);
// The same of a coroutine that has its function already; `ref` anchors it.
Co* adopt_entry(LuaCtx* ctx, lua_State* co, int ref);
// New user coroutine; its function is moved from L's top, the thread is pushed there instead.
// `anchor`: light threads.
Co* new_coroutine(LuaCtx* ctx, lua_State* L, bool anchor);
void free_coroutine(Co* co);
// The scheduler's record of a coroutine of this ctx; null: none (dead, another request's, a stock
// coroutine).
Co* co_of(LuaCtx* ctx, lua_State* L);
void post_thread(LuaCtx* ctx, Co* co);
void cancel_pending(Co* co);
// Kills a light thread with everything that it runs.
void kill_thread(Co* co);
// Ends everything that the ctx still has: cancels pendings, frees coroutines.
void cleanup(LuaCtx* ctx);
// Forgets the last phase's coroutines and wishes, for the next one.
void reset(LuaCtx* ctx);
// As new, but for its VM: after a jump to another location.
void restart(LuaCtx* ctx);
// finalize_request, or the end of a fake request.
void lua_finalize(LuaCtx* ctx, int rc);
// What a timer keeps of the request that started it: its place in the configuration, and who it was
// for log lines.
void inherit_request(Request* fake, const http::ServerCore* srv, const http::CoreConf* conf,
                     const http::ListenConf* listen, Str client);
// Ends a request made by Runtime::fake_request (engine/fake_request.cc).
void finish_fake_request(Request* r);
// Timers that run: their requests end, whatever they wait for.
void end_running_timers(class Runtime* runtime);

// --- output ---
// ngx.say & co. send through these (HTTP/1.0 buffering, header first).
int lua_send_header(LuaCtx* ctx);
int lua_send_chain(LuaCtx* ctx, Chain* in);  // null: the end (eof)
int lua_set_content_type(LuaCtx* ctx);       // the default one, unless lua_use_default_type is off
// A link with a buffer of `size` free bytes, reused where possible; size 0: a special buffer.
Chain* lua_free_buf(LuaCtx* ctx, size_t size);
// What the filters have used up of `out` and *busy returns to ctx->free; the rest is *busy. Links
// with another tag are not ours.
void lua_update_chains(LuaCtx* ctx, Chain** busy, Chain* out, const void* tag);
extern const char kLuaOutputTag, kLuaFilterTag;  // Buf::tag is the address
bool lua_output_buffered(const Request* r);      // the client does not take what there is
// ngx.flush(true) of the running coroutine: waits until the client has taken what is buffered.
int lua_wait_flush(lua_State* L, LuaCtx* ctx);
// write_event_handler while Lua waits.
void lua_write_event(Request* r);
// read_event_handler by `lua_check_client_abort`; a client that goes away runs ngx.on_abort or ends
// the request.
void lua_watch_client(LuaCtx* ctx);
// Asks the socket: has the client closed its side? Logged; c->eof.
bool lua_client_gone(Request* r);

// --- captures (ngx.location.capture) ---
struct Capture {
  int status = 0;
  bool truncated = false;
  Str body;
  Chain* bufs = nullptr;  // what the body came in: the parent's to use again
  http::HeadersOut* headers = nullptr;
  Request* sr = nullptr;
};
// PostSubrequest handler; data is a CaptureLink.
struct CaptureSet;
struct CaptureLink {
  CaptureSet* set = nullptr;
  LuaCtx* ctx = nullptr;  // the subrequest's
  int index = 0;
};
// What one ngx.location.capture_multi waits for; lies in the request's arena.
struct CaptureSet final : public Pending {
  LuaCtx* parent = nullptr;
  Co* waiter = nullptr;
  Capture* items = nullptr;
  int count = 0;
  int pending = 0;
  int results(lua_State* L) override;
  void cancel() override;
};
int lua_post_capture(Request* sr, void* data, int rc);
// The ctx of a subrequest that is captured for `parent`.
LuaCtx* make_capture_ctx(Request* sr, LuaCtx* parent);

// --- checks ---
// "API disabled in the context of %s" through luaL_error when the phase lacks `caps`; "no request
// found" without one. Returns the ctx.
LuaCtx* check(lua_State* L, uint32_t caps);
// For FFI functions: kOk or kBadContext (-101) with the text in err.
int check_ffi(Request* r, uint32_t caps, char* err, size_t* errlen);
bool has_capability(const LuaCtx* ctx, uint32_t caps);
constexpr int kNoReqCtx = -100, kBadContext = -101;

}  // namespace moonphase::engine
