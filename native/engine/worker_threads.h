// ngx.run_worker_thread: Lua functions that run in threads of `thread_pool`s, each in a VM of its
// own kind: no request, no sockets, nothing that waits.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/thread_pool.h"
#include "engine/exec.h"
#include "engine/runtime.h"
#include "net/mailbox.h"

namespace moonphase::engine {

// The API of such a VM: ngx/worker_thread.cc's, put here when the addon is loaded.
extern void (*lua_open_worker_api)(lua_State* L);

class WorkerThreads;

// A VM with the function's arguments on its stack, in front of them what names the function. One
// thread at a time has it.
struct WorkerVm {
  lua::Vm* vm = nullptr;
  bool opened = false, used = false;
  std::string path, cpath;  // package.path of who needed it first
  ~WorkerVm();
};

// One run. Belongs to WorkerThreads; it and its VM come back when the run has ended, whether
// somebody still waits or not.
struct WorkerTask final : public Pending {
  int results(lua_State* L) override;
  void cancel() override;

  WorkerThreads* owner = nullptr;
  Generation* gen = nullptr;  // held
  std::unique_ptr<WorkerVm> vm;
  std::string module, function;
  int nargs = 0;
  int status = 0;
  bool abandoned = false;
  ThreadPool::Task task;
  net::Letter letter;
};

class WorkerThreads {
 public:
  explicit WorkerThreads(Generation* g);
  // Waits for the threads.
  ~WorkerThreads();
  static WorkerThreads& of(Generation* g);

  // Null: there is none of that name.
  ThreadPool* pool(const std::string& name);
  // Null: all that may be (lua_worker_thread_vm_pool_size) are in use. A new one takes over L's
  // package paths.
  std::unique_ptr<WorkerVm> obtain_vm(lua_State* L);
  void give_back(std::unique_ptr<WorkerVm> vm);
  // Hands the task to the pool; null when its queue is full, with the VM given back.
  WorkerTask* run(ThreadPool* pool, std::unique_ptr<WorkerTask> task);
  int running() const { return running_; }
  // Blocks until every run has ended.
  void finish();

 private:
  friend struct WorkerTask;
  static void work(void* task);
  static void done(void* task);
  void count(int change);  // of `running_`: while there is any, the process is held
  Generation* gen_;
  net::Mailbox* mailbox_;
  std::unordered_map<std::string, std::unique_ptr<ThreadPool>> pools_;
  std::vector<std::unique_ptr<WorkerVm>> idle_;
  int vms_ = 0, running_ = 0;
};

// Copies the value at `index` to the top of another VM's stack. False with a text: it cannot be
// copied, nothing is pushed.
bool copy_value(lua_State* from, lua_State* to, int index, const char** error);

}  // namespace moonphase::engine
