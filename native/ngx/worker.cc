// ngx.worker and ngx.process.
#include <unistd.h>
#include <csignal>
#include <cstdio>

#include "engine/running.h"
#include "ngx/api.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

namespace {

const engine::RuntimeOptions* options() {
  engine::Generation* g = engine::running();
  return g && g->runtime ? &g->runtime->options : nullptr;
}

bool has_primary(const engine::RuntimeOptions* o) {
  return o && (o->process_type == engine::ProcessType::kWorker ||
               o->process_type == engine::ProcessType::kPrivileged);
}

// The primary's children, as the kernel lists them. 0: it does not tell.
size_t siblings(int primary, int* pids, size_t max) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task/%d/children", primary, primary);
  FILE* f = fopen(path, "re");
  if (!f) return 0;
  size_t n = 0;
  while (n < max && fscanf(f, "%d", &pids[n]) == 1) ++n;
  fclose(f);
  return n;
}

}  // namespace

// lua-resty-core makes its own ngx.worker.
void open_worker(lua_State* L) {
  push_subtable(L, "worker");
  lua_pop(L, 1);
}
void open_process(lua_State*) {}

}  // namespace moonphase::ngx

using namespace moonphase;
using namespace moonphase::ngx;

MOONPHASE_FFI int ngx_http_lua_ffi_worker_pid(void) { return getpid(); }

MOONPHASE_FFI int ngx_http_lua_ffi_worker_id(void) {
  const engine::RuntimeOptions* o = options();
  if (!o) return -1;
  bool serves = o->process_type == engine::ProcessType::kWorker ||
                o->process_type == engine::ProcessType::kSingle;
  return serves ? o->worker_id : -1;
}

MOONPHASE_FFI int ngx_http_lua_ffi_worker_count(void) {
  const engine::RuntimeOptions* o = options();
  return o ? o->worker_count : 1;
}

MOONPHASE_FFI int ngx_http_lua_ffi_worker_exiting(void) {
  engine::Generation* g = engine::running();
  return g && g->exiting;
}

MOONPHASE_FFI int ngx_http_lua_ffi_worker_pids(int* pids, size_t* pids_len) {
  if (*pids_len == 0) return kError;
  const engine::RuntimeOptions* o = options();
  size_t n = 0;
  if (has_primary(o)) {
    n = siblings(o->master_pid, pids, *pids_len);
  }
  if (n == 0) pids[n++] = getpid();
  *pids_len = n;
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_master_pid(void) {
  const engine::RuntimeOptions* o = options();
  return has_primary(o) ? o->master_pid : getpid();
}

MOONPHASE_FFI int ngx_http_lua_ffi_get_process_type(void) {
  const engine::RuntimeOptions* o = options();
  if (!o) return static_cast<int>(engine::ProcessType::kSingle);
  // OpenResty's init_by_lua runs in the master; ours in each worker.
  bool as_master = engine::running()->initializing && has_primary(o);
  return static_cast<int>(as_master ? engine::ProcessType::kMaster : o->process_type);
}

// Only noted: the primary starts it when this process, whose init_by_lua runs, tells of it.
MOONPHASE_FFI int ngx_http_lua_ffi_enable_privileged_agent(char** err, unsigned int connections) {
  engine::Generation* g = engine::running();
  if (!g || !g->runtime) return ffi_error(err, "no server is running");
  g->runtime->privileged_agent = static_cast<int>(connections);
  return kOk;
}

MOONPHASE_FFI void ngx_http_lua_ffi_process_signal_graceful_exit(void) {
  engine::Generation* g = engine::running();
  if (!g || !g->runtime) return;
  // In somebody else's process a signal would hit more than the gateway.
  if (g->runtime->options.embedded) {
    g->runtime->quit(nullptr, nullptr);
  } else {
    kill(getpid(), SIGQUIT);
  }
}
