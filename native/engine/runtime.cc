// A runtime's life: plans come and go, it listens, it ends.
#include "engine/runtime.h"

#include <mutex>

#include "engine/exec.h"
#include "engine/handshake.h"
#include "engine/lifecycle.h"
#include "engine/listening.h"
#include "engine/modules/modules.h"
#include "engine/socket_pool.h"
#include "engine/upstream_peer.h"
#include "http/output.h"

namespace moonphase::engine {

// --- generations ---

void retain(Generation* g) { ++g->refs; }

void release(Generation* g) {
  if (--g->refs > 0) return;
  std::erase(g->runtime->generations, g);
  g->runtime->loop->defer_free(
      [](void* p) {
        auto* generation = static_cast<Generation*>(p);
        if (generation->vm) close_vm(generation);
        destroy_socket_pools(generation);
        delete generation;
      },
      g);
}

namespace {

// To other servers.
void close_idle_connections(Generation* g) {
  if (g->socket_pools) socket_pools(g).close_idle();
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

struct Runtime::Impl {
  std::vector<std::unique_ptr<Listening>> listening;
  bool dropped_privileges = false;
  bool terminated = false;
  int64_t quit_deadline = 0;  // monotonic ms; 0: none
  net::Timer quit_timer{};
  void (*quit_done)(void*) = nullptr;
  void* quit_data = nullptr;
};

Runtime::Runtime(net::Loop* l, RuntimeOptions o) : loop(l), options(std::move(o)), impl_(new Impl) {
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
  g->plan = std::move(plan);
  auto fail = [&] {
    retire(g, false);
    done(data, false, error);
  };
  if (g->plan->has_http) {
    g->vm = make_vm(g, &error);
    if (!g->vm || lua_init(g, &error) == kError) return fail();
  }
  if (!impl_->dropped_privileges && options.before_init_worker) {
    if (!options.before_init_worker(options.before_init_worker_data, &error)) return fail();
    impl_->dropped_privileges = true;
  }
  http.max_connections = g->plan->worker_connections;
  Generation* old = current;
  current = g;
  lua_init_worker(g);  // a failure is logged and nothing else, as in OpenResty
  if (old) {
    adopt_connections();
    retire(old, true);
  }
  done(data, true, {});
}

// Connections outlive a reload: their next request is the new plan's.
void Runtime::adopt_connections() {
  const auto& listens = current->plan->listens;
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

void Runtime::quit(void (*done)(void*), void* data) {
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
  if ((http.connections > 0 || timers) && !late) {
    loop->set_timer(&impl_->quit_timer, kQuitPoll);
    return;
  }
  if (current && current->vm) lua_exit_worker(current);
  auto done = impl_->quit_done;
  impl_->quit_done = nullptr;
  if (done) done(impl_->quit_data);
}

void Runtime::terminate() {
  if (impl_->terminated) return;
  impl_->terminated = true;
  loop->clear_timer(&impl_->quit_timer);
  stop_listening();
  http::drain_connections(&http);
  for (http::Connection *c = http.first, *next; c; c = next) {
    next = c->next;
    if (c->request) http::close_connection_with_request(c->request, 0);
  }
  // Timers are not run any more: what they would run in is going away.
  end_running_timers(this);
  for (Generation* g : std::vector<Generation*>(generations)) lua_drop_timers(g);
  if (Generation* g = current) {
    current = nullptr;
    g->exiting = true;
    close_idle_connections(g);
    release(g);
  }
}

}  // namespace moonphase::engine
