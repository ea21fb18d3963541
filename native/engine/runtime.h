// A running gateway in one env: its loop, the current generation (Plan + VM), listeners, timers. A
// reload swaps the generation; requests keep theirs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/plan.h"
#include "engine/worker_stats.h"
#include "http/connection.h"
#include "lua/vm.h"

namespace moonphase::engine {

class Runtime;
class FakeConnection;
struct Generation;
class WorkerThreads;  // engine/worker_threads.h
class BlockWatch;     // engine/block_watch.h

// What outlives its owner in Lua until something has happened, and writes to the generation's log
// then. It goes with the generation at the latest.
class Lingering {
 public:
  Lingering(const Lingering&) = delete;
  Lingering& operator=(const Lingering&) = delete;
  virtual void drop() = 0;  // the generation ends: frees itself

 protected:
  Lingering() = default;
  virtual ~Lingering();
  void linger(Generation* g);

 private:
  Lingering *next_ = nullptr, **link_ = nullptr;
};

// A Plan and its VM. Retained by the runtime while current and by every request and timer that
// began with it.
class NameWatch;  // engine/upstream/resolve.h
class Stapler;    // engine/stapling.h

struct Generation {
  std::unique_ptr<Plan> plan;
  lua::Vm* vm = nullptr;  // null while there is no Lua
  Runtime* runtime = nullptr;
  int refs = 1;
  bool exiting = false;                           // ngx.worker.exiting()
  bool initializing = false;                      // init_by_lua runs
  void* socket_pools = nullptr;                   // keepalive pools of cosockets
  void* scheduler = nullptr;                      // engine/coroutines.cc: pooled coroutines
  std::unique_ptr<WorkerThreads> worker_threads;  // ngx.run_worker_thread
  std::unique_ptr<BlockWatch> block_watch;        // null: lua_blocking_threshold is off
  std::unique_ptr<class Limits> limits;           // null: none; of a LuaVM
  Lingering* lingering = nullptr;
  std::vector<std::unique_ptr<NameWatch>> names;  // of upstreams that are resolved again and again
  std::vector<std::unique_ptr<Stapler>> staplers;
  Generation();
  ~Generation();
};
void retain(Generation* g);
void release(Generation* g);  // with the last reference VM and Plan go, after the turn
inline Generation* generation(const http::Request* r) {
  return static_cast<Generation*>(r->generation);
}
inline Plan& plan(const http::Request* r) { return *generation(r)->plan; }
inline const LocConf* loc(const http::Request* r) { return static_cast<const LocConf*>(r->loc); }

enum class ProcessType : int {
  kSingle = 0,
  kMaster = 1,
  kSignaller = 2,
  kWorker = 3,
  kHelper = 4,
  kPrivileged = 99
};

struct RuntimeOptions {
  std::string lualib, user_lualib;  // directories
  ProcessType process_type = ProcessType::kSingle;
  int worker_id = 0, worker_count = 1;
  int master_pid = 0;
  bool embedded = false;  // no Server header
  bool respawned = false;
  size_t memory_limit = 0;  // of Lua, in bytes; 0: none
  int64_t timeout = 0;      // ms of Lua in one go; 0: no limit
  bool test = false;        // load() stops after init_by_lua (nginx -t)
  std::string server_version = "nginx/1.31.2";
  std::unordered_map<std::string, int>
      zone_fds;  // descriptors of shared dictionaries that the primary made
  // What the names begin with under which processes share dictionaries that no descriptor was
  // handed on for: those that Lua or JavaScript create and, with `zones_by_name`, all of them.
  std::string zone_space;
  bool zones_by_name = false;
  bool zones_kept = false;  // those names are removed by the primary
  int stats_fd = -1;        // of WorkerStats: the primary's
  // Called once, in the first load(), between init_by_lua and init_worker_by_lua: drops privileges.
  // False: load fails.
  bool (*before_init_worker)(void* data, std::string* error) = nullptr;
  void* before_init_worker_data = nullptr;
};

class Runtime {
 public:
  Runtime(net::Loop* loop, RuntimeOptions options);
  ~Runtime();
  // Makes the VM, runs init_by_lua and init_worker_by_lua. `done(ok, message)` later when a phase
  // waits (extended); with ok false and "cancelled" when quit or terminate come first.
  using Started = void (*)(void* data, bool ok, Str message);
  void load(std::unique_ptr<Plan> plan, Started done, void* data);
  // Listens on every address of the plan; `fds[i]` ≥ 0 is a listening descriptor for listens[i],
  // owned from now on. After a reload: listeners whose descriptor occurs again go on with the new
  // plan, the others are closed.
  bool listen(const std::vector<int>& fds, std::string* error);
  void stop_listening();
  // Graceful: idle connections close, requests finish, timers fire premature, exit_worker runs;
  // `done` then.
  void quit(void (*done)(void*), void* data);
  // At once.
  void terminate();
  // The same, and the object goes when its last generation does: a call from JavaScript may still
  // wait in it.
  void dispose();
  void reopen_logs();
  // A request with no client: init_worker, timers. Freed by finish_fake_request.
  http::Request* fake_request(Generation* g, uint32_t phase);

  net::Loop* loop;
  RuntimeOptions options;
  WorkerStats stats;
  http::HttpServer http{stats.own()};
  Generation* current = nullptr;
  std::vector<Generation*> generations;  // the current one and those that still have requests
  FakeConnection* fakes = nullptr;       // engine/fake_request.cc: requests without a client
  // What init_by_lua asked for: connections of a privileged agent; -1: it wants none.
  int privileged_agent = -1;
  void* bind_data = nullptr;

 private:
  void initialized();
  void worker_initialized();
  void not_loaded(const std::string& error);
  void cancel_loading();
  friend void release(Generation* g);
  void adopt_connections();
  void continue_quit();
  bool disposed_ = false;
  int held_by_ = 0;  // generations that are not freed yet
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace moonphase::engine
