#include "engine/worker_threads.h"

#include "base/clock.h"
#include "lua/call.h"

namespace moonphase::engine {

void (*lua_open_worker_api)(lua_State* L) = nullptr;

// --- values ---

namespace {

constexpr int kMaxDepth = 100;

bool copy(lua_State* from, lua_State* to, int index, bool nil, int depth, const char** error);

bool copy_table(lua_State* from, lua_State* to, int index, int depth, const char** error) {
  if (depth >= kMaxDepth || !lua_checkstack(from, 4) || !lua_checkstack(to, 4)) {
    *error = "suspicious circular references, table depth exceed max depth: 100";
    return false;
  }
  if (index < 0) index = lua_gettop(from) + index + 1;
  int from_top = lua_gettop(from), to_top = lua_gettop(to);
  lua_newtable(to);
  lua_pushnil(from);
  while (lua_next(from, index) != 0) {
    if (!copy(from, to, -2, false, depth + 1, error) ||
        !copy(from, to, -1, false, depth + 1, error)) {
      lua_settop(from, from_top);
      lua_settop(to, to_top);
      return false;
    }
    lua_rawset(to, -3);
    lua_pop(from, 1);
  }
  return true;
}

bool copy(lua_State* from, lua_State* to, int index, bool nil, int depth, const char** error) {
  switch (lua_type(from, index)) {
    case LUA_TBOOLEAN:
      lua_pushboolean(to, lua_toboolean(from, index));
      return true;
    case LUA_TLIGHTUSERDATA:
      lua_pushlightuserdata(to, lua_touserdata(from, index));
      return true;
    case LUA_TNUMBER:
      lua_pushnumber(to, lua_tonumber(from, index));
      return true;
    case LUA_TSTRING: {
      size_t n;
      const char* s = lua_tolstring(from, index, &n);
      lua_pushlstring(to, s, n);
      return true;
    }
    case LUA_TTABLE:
      return copy_table(from, to, index, depth, error);
    case LUA_TNIL:
      if (nil) {
        lua_pushnil(to);
        return true;
      }
      *error = "unsupported Lua type: LUA_TNIL";
      return false;
    case LUA_TFUNCTION:
      *error = "unsupported Lua type: LUA_TFUNCTION";
      return false;
    case LUA_TUSERDATA:
      *error = "unsupported Lua type: LUA_TUSERDATA";
      return false;
    case LUA_TTHREAD:
      *error = "unsupported Lua type: LUA_TTHREAD";
      return false;
    default:
      *error = "unsupported Lua type";
      return false;
  }
}

}  // namespace

bool copy_value(lua_State* from, lua_State* to, int index, const char** error) {
  return copy(from, to, index, true, 1, error);
}

// --- in the pool's thread ---

namespace {

// package.path and package.cpath of the VM that asked.
int set_paths(lua_State* L) {
  auto* vm = static_cast<WorkerVm*>(lua_touserdata(L, 1));
  lua_getglobal(L, "package");
  lua_pushlstring(L, vm->path.data(), vm->path.size());
  lua_setfield(L, -2, "path");
  lua_pushlstring(L, vm->cpath.data(), vm->cpath.size());
  lua_setfield(L, -2, "cpath");
  // What of lua-resty-core needs no request.
  for (const char* name : {"resty.core.hash", "resty.core.base64", "resty.core.shdict"}) {
    lua_getglobal(L, "require");
    lua_pushstring(L, name);
    lua_call(L, 1, 0);
  }
  return 0;
}

bool open(WorkerVm* vm, Generation* g, std::string* error) {
  const Plan& plan = *g->plan;
  lua::VmOptions options;
  options.package_path = plan.lua.package_path;
  options.package_cpath = plan.lua.package_cpath;
  options.lualib = g->runtime->options.lualib;
  options.user_lualib = g->runtime->options.user_lualib;
  options.prefix = plan.prefix;
  options.open = lua_open_worker_api;
  options.load_resty_core = false;
  if (!vm->vm->open(options, error)) return false;
  lua_State* L = vm->vm->L();
  if (lua::protect(L, set_paths, vm) == 0) return true;
  *error = lua::error_text(L, "unknown error");
  lua_pop(L, 1);
  return false;
}

// Puts the function into the registry, at the task's address.
int find_function(lua_State* L) {
  auto* task = static_cast<WorkerTask*>(lua_touserdata(L, 1));
  lua_getglobal(L, "require");
  lua_pushlstring(L, task->module.data(), task->module.size());
  lua_call(L, 1, 1);
  const char* wrong = nullptr;
  if (!lua_istable(L, -1)) {
    wrong = "invalid lua module";
  } else {
    lua_getfield(L, -1, task->function.c_str());
    if (!lua_isfunction(L, -1)) wrong = "invalid function";
  }
  if (wrong) {
    lua_pushstring(L, wrong);
    return lua_error(L);
  }
  lua_pushlightuserdata(L, task);
  lua_insert(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
  return 0;
}

void fail(lua_State* L, WorkerTask* task, Str error) {
  lua_settop(L, 0);
  lua_pushlstring(L, error.data(), error.size());
  task->status = LUA_ERRRUN;
}

}  // namespace

void WorkerThreads::work(void* data) {
  auto* task = static_cast<WorkerTask*>(data);
  WorkerVm* vm = task->vm.get();
  lua_State* L = vm->vm->L();
  clock_update();
  std::string error;
  if (!vm->opened && !(vm->opened = open(vm, task->gen, &error))) {
    fail(L, task, error);
  } else {
    // What the last run has left; here, where nobody waits for it.
    if (vm->used) lua_gc(L, LUA_GCCOLLECT, 0);
    vm->used = true;
    if (lua::protect(L, find_function, task) != 0) {
      error = lua::error_text(L, "unknown error");
      fail(L, task, error);
    } else {
      lua_pushlightuserdata(L, task);
      lua_rawget(L, LUA_REGISTRYINDEX);
      lua_insert(L, 1);
      lua_pushlightuserdata(L, task);
      lua_pushnil(L);
      lua_rawset(L, LUA_REGISTRYINDEX);
      task->status = lua::protected_call(L, task->nargs, LUA_MULTRET, false);
    }
  }
  task->owner->mailbox_->send(&task->letter);
}

// --- in the loop's thread ---

WorkerVm::~WorkerVm() {
  if (vm) vm->release_now();
}

int WorkerTask::results(lua_State* L) {
  lua_State* from = vm->vm->L();
  int n = lua_gettop(from);
  if (status != 0) {
    lua_pushboolean(L, 0);
    Str text = lua::error_text(from, "");
    lua_pushlstring(L, text.data(), text.size());
    n = 1;
  } else {
    lua_pushboolean(L, 1);
    luaL_checkstack(L, n, nullptr);
    for (int i = 1; i <= n; ++i) {
      const char* error = nullptr;
      if (copy_value(from, L, i, &error)) continue;
      lua_pushboolean(L, 0);
      lua_pushfstring(L, "%s in the return value", error);
      n = -1;
      break;
    }
  }
  WorkerThreads* threads = owner;
  Generation* g = gen;
  threads->give_back(std::move(vm));
  threads->count(-1);
  delete this;
  release(g);
  return n < 0 ? 2 : n + 1;
}

void WorkerTask::cancel() { abandoned = true; }

void WorkerThreads::done(void* data) {
  auto* task = static_cast<WorkerTask*>(data);
  if (!task->abandoned) {
    wake(task);
    return;
  }
  Generation* g = task->gen;
  task->owner->give_back(std::move(task->vm));
  task->owner->count(-1);
  delete task;
  release(g);
}

WorkerThreads::WorkerThreads(Generation* g)
    : gen_(g), mailbox_(net::Mailbox::open(g->runtime->loop)) {
  for (const ThreadPoolPlan& p : g->plan->thread_pools)
    pools_[p.name] = std::make_unique<ThreadPool>(static_cast<size_t>(p.threads),
                                                  static_cast<size_t>(p.max_queue));
}

WorkerThreads::~WorkerThreads() {
  pools_.clear();
  mailbox_->close();
}

WorkerThreads& WorkerThreads::of(Generation* g) {
  if (!g->worker_threads) g->worker_threads = std::make_unique<WorkerThreads>(g);
  return *g->worker_threads;
}

ThreadPool* WorkerThreads::pool(const std::string& name) {
  auto it = pools_.find(name);
  return it == pools_.end() ? nullptr : it->second.get();
}

std::unique_ptr<WorkerVm> WorkerThreads::obtain_vm(lua_State* L) {
  if (!idle_.empty()) {
    std::unique_ptr<WorkerVm> vm = std::move(idle_.back());
    idle_.pop_back();
    return vm;
  }
  if (vms_ >= gen_->plan->lua.worker_thread_vm_pool_size) return nullptr;
  auto vm = std::make_unique<WorkerVm>();
  lua::VmOptions options;
  options.user = gen_;
  std::string error;
  vm->vm = lua::Vm::make(options, &error);
  if (!vm->vm) return nullptr;
  auto field = [L](const char* name, std::string* to) {
    lua_getglobal(L, "package");
    if (lua_istable(L, -1)) {
      lua_getfield(L, -1, name);
      *to = lua::error_text(L, "");
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  };
  field("path", &vm->path);
  field("cpath", &vm->cpath);
  ++vms_;
  return vm;
}

void WorkerThreads::give_back(std::unique_ptr<WorkerVm> vm) {
  // One that could not be opened, or was not used yet: the next one is made anew.
  if (!vm->opened) {
    --vms_;
    return;
  }
  lua_settop(vm->vm->L(), 0);
  idle_.push_back(std::move(vm));
}

WorkerTask* WorkerThreads::run(ThreadPool* pool, std::unique_ptr<WorkerTask> task) {
  WorkerTask* t = task.release();
  t->owner = this;
  t->gen = gen_;
  t->task.run = work;
  t->task.data = t;
  t->letter.fn = done;
  t->letter.data = t;
  retain(gen_);
  count(1);
  if (pool->post(&t->task)) return t;
  count(-1);
  release(gen_);
  give_back(std::move(t->vm));
  delete t;
  return nullptr;
}

void WorkerThreads::count(int change) {
  running_ += change;
  mailbox_->expect(running_ > 0);
}

void WorkerThreads::finish() {
  if (!running_) return;
  pools_.clear();
  retain(gen_);
  mailbox_->deliver();
  release(gen_);
}

}  // namespace moonphase::engine
