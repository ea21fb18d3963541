// ngx.run_worker_thread, and what there is of ngx in the VMs that it uses.
#include "engine/worker_threads.h"

#include "engine/phases.h"
#include "ngx/api.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

namespace {

int refuse(lua_State* L, const char* why) {
  lua_pushboolean(L, 0);
  lua_pushstring(L, why);
  return 2;
}

int run_worker_thread(lua_State* L) {
  LuaCtx* ctx = engine::check(L, engine::kCapWorkerThread);
  int top = lua_gettop(L);
  if (top < 3) return refuse(L, "expecting at least 3 arguments");
  const char* pool_name = lua_tostring(L, 1);
  if (!pool_name) return refuse(L, "threadpool should be a string");
  engine::WorkerThreads& threads = engine::WorkerThreads::of(ctx->gen);
  ThreadPool* pool = threads.pool(pool_name);
  if (!pool) {
    lua_pushboolean(L, 0);
    lua_pushfstring(L, "thread pool %s not found", pool_name);
    return 2;
  }
  size_t module_len;
  const char* module = lua_tolstring(L, 2, &module_len);
  if (!module) return refuse(L, "module name should be a string");
  const char* function = lua_tostring(L, 3);
  if (!function) return refuse(L, "function name should be a string");
  if (!lua_isyieldable(L) || !ctx->current || ctx->current->L != L) return engine::yield_error(L);

  auto task = std::make_unique<engine::WorkerTask>();
  task->vm = threads.obtain_vm(L);
  if (!task->vm) return refuse(L, "no available Lua vm");
  lua_State* to = task->vm->vm->L();
  for (int i = 4; i <= top; ++i) {
    const char* error = nullptr;
    if (lua_checkstack(to, 4) && engine::copy_value(L, to, i, &error)) continue;
    threads.give_back(std::move(task->vm));
    lua_pushboolean(L, 0);
    lua_pushfstring(L, "%s in the argument", error ? error : "too many values");
    return 2;
  }
  task->nargs = top - 3;
  task->module.assign(module, module_len);
  task->function = function;
  engine::WorkerTask* running = threads.run(pool, std::move(task));
  if (!running) {
    MOONPHASE_LOG(ctx->r, kLogErr, 0, "thread pool \"%s\" queue overflow: %zu tasks waiting",
                  pool_name, pool->waiting());
    return refuse(L, "ngx_thread_task_post failed");
  }
  return engine::wait(L, running);
}

}  // namespace

void open_worker_thread(lua_State* L) {
  lua_pushcfunction(L, run_worker_thread);
  lua_setfield(L, -2, "run_worker_thread");
}

// Runs in the pool's thread.
void open_for_worker_thread(lua_State* L) {
  create_ngx(L, 16);
  open_config(L);
  open_string(L);
  open_shared_dict(L);
  open_cjson(L);
  lua_pop(L, 1);
}

}  // namespace moonphase::ngx
