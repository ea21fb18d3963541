// init_by_lua, init_worker_by_lua, exit_worker_by_lua: once per VM and worker, on the VM's own
// stack.
#include <utility>

#include "base/log.h"
#include "engine/exec.h"
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/scheduler.h"
#include "lua/call.h"
#include "lua/chunks.h"

namespace moonphase::engine {

namespace {

int load(lua_State* L, const Plan& plan, const Handler* h) {
  if (h->kind == Handler::kInline) return lua::load_source(L, h->source, h->chunk.c_str());
  if (h->kind == Handler::kJs) return push_js_handler(L, plan, h->js);
  std::string path = h->file.text;
  if (path.empty() || path[0] != '/') path = plan.prefix + path;
  return lua::load_file(L, path.c_str());
}

// "init_by_lua_file error: "
std::string error_head(const char* what, const Handler* h) {
  std::string name(what);
  if (h->kind == Handler::kFile) name += "_file";
  if (h->kind == Handler::kJs) name.replace(name.size() - 3, 3, "js");
  return name + " error: ";
}

// kError with a text in *error.
int run(lua::Vm* vm, Generation* g, Request* r, const Handler* h, const char* what,
        std::string* error) {
  lua_State* L = vm->L();
  lua_setexdata(L, r);
  int status = load(L, *g->plan, h);
  if (status == 0) {
    RunningLua running(g, L, 0, r ? r->conn : nullptr);
    status = lua::protected_call(L, 0, 0);
  }
  lua_setexdata(L, nullptr);
  if (status == 0) {
    lua_gc(L, LUA_GCCOLLECT, 0);
    return kOk;
  }
  *error = error_head(what, h);
  error->append(lua::error_text(L, "unknown error"));
  lua_pop(L, 1);
  lua_gc(L, LUA_GCCOLLECT, 0);
  return kError;
}

bool runs(const Generation* g, const HandlerPtr& h) { return g->vm && h; }

int run_in_worker(Generation* g, const HandlerPtr& h, uint32_t phase, const char* what,
                  std::string* error) {
  Request* r = g->runtime->fake_request(g, phase);
  g->vm->retain();
  make_fake_ctx(r, g->vm, phase);
  int rc = run(g->vm, g, r, h.get(), what, error);
  if (rc == kError) MOONPHASE_LOG(r, kLogErr, 0, "%s", error->c_str());
  finish_fake_request(r);
  return rc;
}

// --- extended: as a coroutine ---

int end_init(LuaCtx* ctx, int rc) {
  InitRun* init = ctx->init;
  lua_State* L = ctx->L();
  init->r = nullptr;
  ctx->gen->initializing = false;
  if (!init->error.empty()) {
    init->error = error_head(init->directive, init->handler) + init->error;
    rc = kError;
    if (ctx->phase == kPhaseInitWorker)
      MOONPHASE_LOG(ctx->r, kLogErr, 0, "%s", init->error.c_str());
  } else {
    rc = kOk;
  }
  lua_gc(L, LUA_GCCOLLECT, 0);
  finish_fake_request(ctx->r);
  return rc;
}

void init_ended(LuaCtx* ctx, int rc) {
  InitRun* init = ctx->init;
  rc = end_init(ctx, rc);
  init->done(init, rc);
}

int begin_init(Generation* g, const HandlerPtr& h, uint32_t phase, const char* what,
               InitRun* init) {
  Request* r = init->r = g->runtime->fake_request(g, phase);
  g->vm->retain();
  LuaCtx* ctx = make_fake_ctx(r, g->vm, phase);
  ctx->init = init;
  ctx->finish = init_ended;
  init->directive = what;
  init->handler = h.get();
  lua_State* L = ctx->L();
  if (load(L, *g->plan, h.get()) != 0) {
    init->error = lua::error_text(L, "unknown error");
    lua_pop(L, 1);
    return end_init(ctx, kError);
  }
  g->initializing = phase == kPhaseInit;
  start_entry(ctx, phase);
  int rc = run_thread(ctx, 0);
  if (rc == kAgain || rc == kDone) rc = run_posted_threads(ctx);
  return rc == kDone ? int{kAgain} : end_init(ctx, rc);
}

}  // namespace

int lua_run_init(lua::Vm* vm, Generation* g, std::string* error) {
  const HandlerPtr& h = g->plan->lua.init;
  return runs(g, h) ? run(vm, g, nullptr, h.get(), "init_by_lua", error) : int{kOk};
}

int lua_init(Generation* g, InitRun* init) {
  const HandlerPtr& h = g->plan->lua.init;
  if (!runs(g, h)) return kOk;
  if (g->plan->lua.extended_capabilities) return begin_init(g, h, kPhaseInit, "init_by_lua", init);
  g->initializing = true;
  int rc = lua_run_init(g->vm, g, &init->error);
  g->initializing = false;
  return rc;
}

int lua_init_worker(Generation* g, InitRun* init) {
  const HandlerPtr& h = g->plan->lua.init_worker;
  if (!runs(g, h)) return kOk;
  if (g->plan->lua.extended_capabilities)
    return begin_init(g, h, kPhaseInitWorker, "init_worker_by_lua", init);
  return run_in_worker(g, h, kPhaseInitWorker, "init_worker_by_lua", &init->error);
}

void cancel_init(InitRun* init) {
  if (init->r) finish_fake_request(std::exchange(init->r, nullptr));
}

void lua_exit_worker(Generation* g) {
  const HandlerPtr& h = g->plan->lua.exit_worker;
  std::string error;
  if (runs(g, h)) run_in_worker(g, h, kPhaseExitWorker, "exit_worker_by_lua", &error);
}

}  // namespace moonphase::engine
