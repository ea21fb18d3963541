// init_by_lua, init_worker_by_lua, exit_worker_by_lua: once per VM and worker, on the VM's own
// stack.
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
  std::string path = h->file.text;
  if (path.empty() || path[0] != '/') path = plan.prefix + path;
  return lua::load_file(L, path.c_str());
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
  *error = std::string(what) + (h->kind == Handler::kFile ? "_file" : "") + " error: ";
  error->append(lua::error_text(L, "unknown error"));
  lua_pop(L, 1);
  lua_gc(L, LUA_GCCOLLECT, 0);
  return kError;
}

bool runs(const Generation* g, const HandlerPtr& h) {
  return g->vm && h && h->kind != Handler::kJs;
}

int run_in_worker(Generation* g, const HandlerPtr& h, uint32_t phase, const char* what) {
  Request* r = g->runtime->fake_request(g, phase);
  g->vm->retain();
  make_fake_ctx(r, g->vm, phase);
  std::string error;
  int rc = run(g->vm, g, r, h.get(), what, &error);
  if (rc == kError) MOONPHASE_LOG(r, kLogErr, 0, "%s", error.c_str());
  finish_fake_request(r);
  return rc;
}

}  // namespace

int lua_run_init(lua::Vm* vm, Generation* g, std::string* error) {
  const HandlerPtr& h = g->plan->lua.init;
  return runs(g, h) ? run(vm, g, nullptr, h.get(), "init_by_lua", error) : int{kOk};
}

int lua_init(Generation* g, std::string* error) {
  if (!g->vm) return kOk;
  g->initializing = true;
  int rc = lua_run_init(g->vm, g, error);
  g->initializing = false;
  return rc;
}

int lua_init_worker(Generation* g) {
  const HandlerPtr& h = g->plan->lua.init_worker;
  return runs(g, h) ? run_in_worker(g, h, kPhaseInitWorker, "init_worker_by_lua") : int{kOk};
}

void lua_exit_worker(Generation* g) {
  const HandlerPtr& h = g->plan->lua.exit_worker;
  if (runs(g, h)) run_in_worker(g, h, kPhaseExitWorker, "exit_worker_by_lua");
}

}  // namespace moonphase::engine
