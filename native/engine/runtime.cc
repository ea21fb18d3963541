// A runtime's life: plans come and go, it listens, it ends.
#include "engine/runtime.h"

#include <mutex>

#include "engine/block_watch.h"
#include "engine/exec.h"
#include "engine/handshake.h"
#include "engine/lifecycle.h"
#include "engine/limits.h"
#include "engine/listening.h"
#include "engine/modules/limits.h"
#include "engine/modules/modules.h"
#include "engine/sockets/socket_pool.h"
#include "engine/stapling.h"
#include "engine/tls_sessions.h"
#include "engine/upstream/cache_zone.h"
#include "engine/upstream/resolve.h"
#include "engine/worker_threads.h"
#include "http/detached.h"
#include "http/output.h"

namespace moonphase::engine {

// --- generations ---

Generation::Generation() = default;
Generation::~Generation() = default;

Lingering::~Lingering() {
  if (!link_) return;
  *link_ = next_;
  if (next_) next_->link_ = link_;
}

void Lingering::linger(Generation* g) {
  if (link_) return;
  next_ = g->lingering;
  link_ = &g->lingering;
  if (next_) next_->link_ = &next_;
  g->lingering = this;
}

void retain(Generation* g) { ++g->refs; }

void release(Generation* g) {
  if (--g->refs > 0) return;
  std::erase(g->runtime->generations, g);
  net::Loop* loop = g->runtime->loop;
  if (loop->traced() == &g->plan->error_log) loop->trace(nullptr);
  loop->defer_free(
      [](void* p) {
        auto* generation = static_cast<Generation*>(p);
        if (generation->vm) close_vm(generation);
        while (Lingering* l = generation->lingering) l->drop();
        destroy_socket_pools(generation);
        Runtime* runtime = generation->runtime;
        delete generation;
        if (--runtime->held_by_ == 0 && runtime->disposed_) delete runtime;
      },
      g);
}

namespace {

// To other servers.
void close_idle_connections(Generation* g) {
  if (g->socket_pools) socket_pools(g).close_idle();
  g->names.clear();
  g->staplers.clear();
  if (g->plan->has_http) close_idle_upstreams(*g->plan);
}

// A generation that is not, or no longer, current: its timers fire, Lua is told.
void retire(Generation* g, bool worked) {
  g->exiting = true;
  close_idle_connections(g);
  if (g->vm) {
    lua_abort_timers(g);
    if (worked) lua_exit_worker(g);
  }
  release(g);
}

}  // namespace

// --- loading ---

// A plan on its way to be the current one.
struct Loading {
  Generation* g = nullptr;
  Generation* before = nullptr;  // the current one when init_worker_by_lua began
  Runtime::Started done = nullptr;
  void* data = nullptr;
  InitRun init;
};

struct Runtime::Impl {
  std::unique_ptr<Loading> loading;
  std::vector<std::unique_ptr<Listening>> listening;
  bool dropped_privileges = false;
  bool terminated = false;
  int64_t quit_deadline = 0;  // monotonic ms; 0: none
  net::Timer quit_timer{};
  void (*quit_done)(void*) = nullptr;
  void* quit_data = nullptr;
};

Runtime::Runtime(net::Loop* l, RuntimeOptions o)
    : loop(l), options(std::move(o)), stats(options.stats_fd), impl_(new Impl) {
  static std::once_flag once;
  std::call_once(once, [] {
    http::register_http_filters();
    register_lua_filters();
    register_modules();
  });
  http.loop = loop;
  http.hooks = server_hooks(this);
  http.server_version = options.server_version.c_str();
  http.embedded = options.embedded;
}

Runtime::~Runtime() { terminate(); }

void Runtime::load(std::unique_ptr<Plan> plan, Started done, void* data) {
  std::string error;
  if ((plan->steps.empty() && !plan->seal(&error)) || !plan->open_logs(&error)) {
    done(data, false, error);
    return;
  }
  auto* g = new Generation;
  g->runtime = this;
  generations.push_back(g);
  ++held_by_;
  g->plan = std::move(plan);
  if (options.worker_id == 0 && !options.respawned)
    for (const std::string& text : g->plan->warnings)
      log_write(g->plan->error_log, nullptr, kLogWarn, 0, "%s", text.c_str());
  impl_->loading = std::make_unique<Loading>();
  Loading& now = *impl_->loading;
  now.g = g;
  now.done = done;
  now.data = data;
  now.init.data = this;
  if (int64_t ms = g->plan->lua.blocking_threshold)
    g->block_watch = std::make_unique<BlockWatch>(g, ms);
  if (!open_limit_zones(g, &error) || !open_tls_sessions(g, &error) || !open_caches(g, &error))
    return not_loaded(error);
  if (g->plan->has_http) {
    if (open_upstream_zones(g, &error)) g->vm = make_vm(g, &error);
    if (!g->vm) return not_loaded(error);
    if (options.memory_limit || options.timeout) {
      g->limits = std::make_unique<Limits>(g->vm->L(), options.memory_limit, options.timeout);
      g->vm->on_close([](void* p) { static_cast<Generation*>(p)->limits.reset(); }, g);
    }
    now.init.done = [](InitRun* init, int rc) {
      auto* self = static_cast<Runtime*>(init->data);
      if (rc == kOk)
        self->initialized();
      else
        self->not_loaded(std::string(init->error));
    };
    int rc = lua_init(g, &now.init);
    if (rc == kAgain) return;
    if (rc == kError) return not_loaded(now.init.error);
  }
  initialized();
}

void Runtime::not_loaded(const std::string& error) {
  std::string text = error;
  std::unique_ptr<Loading> over = std::move(impl_->loading);
  retire(over->g, false);
  over->done(over->data, false, text);
}

// init_by_lua has run.
void Runtime::initialized() {
  Loading& now = *impl_->loading;
  Generation* g = now.g;
  std::string error;
  if (!impl_->dropped_privileges && options.before_init_worker) {
    if (!options.before_init_worker(options.before_init_worker_data, &error))
      return not_loaded(error);
    impl_->dropped_privileges = true;
  }
  start_resolving(g);
  start_stapling(g);
  // A failure is logged and nothing else, as in OpenResty.
  now.init.error.clear();
  now.init.done = [](InitRun* init, int) {
    static_cast<Runtime*>(init->data)->worker_initialized();
  };
  now.before = current;
  current = g;
  loop->trace(g->plan->error_log.enabled(kLogDebug) ? &g->plan->error_log : nullptr);
  if (lua_init_worker(g, &now.init) == kAgain)
    current = now.before;  // requests that come meanwhile are the old one's
  else
    worker_initialized();
}

void Runtime::worker_initialized() {
  std::unique_ptr<Loading> over = std::move(impl_->loading);
  Generation* old = over->before;
  current = over->g;
  http.max_connections = current->plan->worker_connections;
  if (old) {
    adopt_connections();
    adopt_listening(*current->plan, &impl_->listening);
    retire(old, true);
  }
  over->done(over->data, true, {});
}

// Connections outlive a reload: their next request is the new plan's.
void Runtime::adopt_connections() {
  const auto& listens = current->plan->listens;
  for (http::Connection* c = http.detached; c; c = c->next) {
    const http::ListenConf* conf = successor(*current->plan, c->listen);
    if (conf || !listens.empty()) c->listen = conf ? conf : listens[0].get();
  }
  for (http::Connection* c = http.first; c; c = c->next) {
    const http::ListenConf* conf = successor(*current->plan, c->listen);
    if (!conf && c->request) c->request->keepalive = false;
    if (!conf && listens.empty()) continue;
    c->listen = conf ? conf : listens[0].get();
    c->tls_server = nullptr;  // the old plan's
    // Its handshake is over: what Lua left of it is of the old VM.
    if (c->tls_lua && c->ssl && !c->request) handshake_closed(c);
    if (!c->request) c->log = c->listen->default_server->conf->error_log;
  }
}

bool Runtime::listen(const std::vector<int>& fds, std::string* error) {
  return listen_on(&http, *current->plan, fds, &impl_->listening, error);
}

void Runtime::stop_listening() { impl_->listening.clear(); }

void Runtime::reopen_logs() {
  if (current) current->plan->reopen_logs();
}

// --- ending ---

namespace {
constexpr uint64_t kQuitPoll = 10;  // ms between looks at what is still there
}

void Runtime::cancel_loading() {
  if (!impl_->loading) return;
  cancel_init(&impl_->loading->init);
  not_loaded("cancelled");
}

void Runtime::quit(void (*done)(void*), void* data) {
  cancel_loading();
  impl_->quit_done = done;
  impl_->quit_data = data;
  stop_listening();
  http::drain_connections(&http);
  if (current) {
    current->exiting = true;
    close_idle_connections(current);
    if (current->vm) lua_abort_timers(current);
    int64_t limit = current->plan->worker_shutdown_timeout;
    impl_->quit_deadline = limit > 0 ? now().monotonic_ms + limit : 0;
  }
  impl_->quit_timer.fn = [](void* self) { static_cast<Runtime*>(self)->continue_quit(); };
  impl_->quit_timer.data = this;
  continue_quit();
}

void Runtime::continue_quit() {
  bool timers =
      current && current->vm && (lua_pending_timers(current) || lua_running_timers(current));
  bool late = impl_->quit_deadline && now().monotonic_ms >= impl_->quit_deadline;
  bool threads = current && current->worker_threads && current->worker_threads->running();
  if ((http.connections > 0 || http.detached || timers || threads) && !late) {
    loop->set_timer(&impl_->quit_timer, kQuitPoll);
    return;
  }
  if (current && current->vm) lua_exit_worker(current);
  auto done = impl_->quit_done;
  impl_->quit_done = nullptr;
  if (done) done(impl_->quit_data);
}

void Runtime::dispose() {
  terminate();
  disposed_ = true;
  if (held_by_ > 0) return;  // the last generation takes it along
  loop->defer_free([](void* self) { delete static_cast<Runtime*>(self); }, this);
}

void Runtime::terminate() {
  if (impl_->terminated) return;
  impl_->terminated = true;
  cancel_loading();
  loop->clear_timer(&impl_->quit_timer);
  stop_listening();
  http::drain_connections(&http);
  http::cut_connections(&http);
  http::end_all_detached(&http);
  // Timers are not run any more: what they would run in is going away.
  end_running_timers(this);
  for (Generation* g : std::vector<Generation*>(generations)) {
    lua_drop_timers(g);
    if (g->worker_threads) g->worker_threads->finish();
  }
  if (Generation* g = current) {
    current = nullptr;
    g->exiting = true;
    close_idle_connections(g);
    release(g);
  }
}

}  // namespace moonphase::engine
