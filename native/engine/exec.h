// Running Lua handlers: one entry per phase, one scheduler loop.
#pragma once

#include "engine/lua_ctx.h"

namespace moonphase::engine {

// Phase handlers for the phase table; the codes are those of nginx phase handlers.
int lua_server_rewrite_handler(Request* r);
int lua_rewrite_handler(Request* r);
int lua_access_handler(Request* r);
int lua_precontent_handler(Request* r);
int lua_content_handler(Request* r);
int lua_header_filter(Request* r);
int lua_body_filter(Request* r, Chain* in);
int lua_capture_header_filter(Request* r);
int lua_capture_body_filter(Request* r, Chain* in);
int lua_log_handler(Request* r);
int lua_set_handler(Request* r, const Handler* h, Str* args, int nargs, Str* value);
int lua_init(Generation* g, std::string* error);
int lua_init_worker(Generation* g);
void lua_exit_worker(Generation* g);

// Pushes the handler's function (loaded and cached unless the code cache is off); kOk, kError (logged, 500) or 404 for a
// missing file… with the message logged in lua-nginx-module's words.
int push_handler(Request* r, lua_State* L, const Handler* h);

// The scheduler: resumes ctx->current with `nargs` values on its stack and goes on until everything waits or has ended.
// kAgain: waits; kOk; kError; kDone; a status; (ngx_http_lua_run_thread).
int run_thread(LuaCtx* ctx, int nargs);
// Then what was posted meanwhile (ngx_http_lua_run_posted_threads).
int run_posted_threads(LuaCtx* ctx);
// New coroutine from the pool, its function is moved from L's top.
Co* new_coroutine(LuaCtx* ctx, lua_State* L);
Co* co_of(LuaCtx* ctx, lua_State* L);
void post_thread(LuaCtx* ctx, Co* co);
// Ends everything that the ctx still has: cancels pendings, frees coroutines.
void cleanup(LuaCtx* ctx);

// ngx.say & co. send through these (HTTP/1.0 buffering, header first).
int lua_send_header(LuaCtx* ctx);
int lua_send_chain(LuaCtx* ctx, Chain* in);  // null: the end (eof)

// "API disabled in the context of %s" through luaL_error when the phase lacks `caps`. Returns the ctx.
LuaCtx* check(lua_State* L, uint32_t caps);
// For FFI functions: kOk or kBadContext (-101) with the text in err.
int check_ffi(Request* r, uint32_t caps, char* err, size_t* errlen);
constexpr int kNoReqCtx = -100, kBadContext = -101;

}  // namespace moonphase::engine
