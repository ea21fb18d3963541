#include "engine/block_watch.h"

#include <csignal>
#include <ctime>

#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/scheduler.h"
#include "lua/call.h"

namespace moonphase::engine {

namespace {

// By default it is ignored: one that comes late does no harm.
constexpr int kSignal = SIGURG;
constexpr int kHookMask = LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT;

// Of the thread whose Lua runs: what the signal's handler finds.
constinit thread_local BlockWatch* t_watch = nullptr;

int64_t present_ns() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

}  // namespace

BlockWatch::BlockWatch(Generation* g, int64_t threshold)
    : gen_(g), threshold_ns_(threshold * 1'000'000), loop_thread_(pthread_self()) {
  // In somebody else's process the signal may be in use: then there is only the line at the end.
  struct sigaction action {};
  sigaction(kSignal, nullptr, &action);
  if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) {
    action = {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(kSignal, &action, nullptr);
  }
  interrupts_ = action.sa_handler == on_signal;
  t_watch = nullptr;  // the handler finds the thread's storage there
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { watch(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

BlockWatch::~BlockWatch() {
  {
    std::lock_guard lock(mutex_);
    end_ = true;
  }
  ending_.notify_all();
  thread_.join();
  if (t_watch == this) t_watch = nullptr;
}

void BlockWatch::enter(lua_State* L, int nargs, const LogContext* log) {
  L_ = L;
  context_ = log;
  line_ = 0;
  *place_.short_src = '\0';
  if (lua_status(L) == LUA_YIELD) {
    // Where it goes on: the caller of what has waited.
    for (int level = 0; line_ <= 0 && lua_getstack(L, level, &place_); ++level) {
      lua_getinfo(L, "Sl", &place_);
      line_ = place_.currentline;
    }
  } else if (int at = lua_gettop(L) - nargs; at > 0 && lua_isfunction(L, at)) {
    lua_pushvalue(L, at);
    lua_getinfo(L, ">S", &place_);
    line_ = place_.linedefined;
  }
  told_.store(false, std::memory_order_relaxed);
  t_watch = this;
  since_.store(present_ns(), std::memory_order_release);
}

void BlockWatch::leave() {
  int64_t since = since_.exchange(0, std::memory_order_acq_rel);
  // From here on the handler does nothing.
  t_watch = nullptr;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (hooked_) restore_hook(L_);
  int64_t ns = present_ns() - since;
  if (ns < threshold_ns_) return;
  const Log& log = gen_->plan->error_log;
  if (log.enabled(kLogWarn))
    log_write(log, context_, kLogWarn, 0,
              "lua blocked the event loop for %lld ms in a run that began at %s:%d",
              static_cast<long long>(ns / 1'000'000), *place_.short_src ? place_.short_src : "?",
              line_);
}

void BlockWatch::watch() {
  std::unique_lock lock(mutex_);
  const auto step = std::chrono::nanoseconds(std::max<int64_t>(threshold_ns_ / 4, 1'000'000));
  while (!ending_.wait_for(lock, step, [this] { return end_; })) {
    int64_t since = since_.load(std::memory_order_acquire);
    if (!since || present_ns() - since < threshold_ns_) continue;
    if (interrupts_ && !told_.exchange(true)) pthread_kill(loop_thread_, kSignal);
  }
}

void BlockWatch::on_signal(int) {
  BlockWatch* self = t_watch;
  if (!self || self->hooked_) return;
  // lua_sethook may be called from a signal's handler.
  lua_State* L = self->L_;
  self->hook_ = lua_gethook(L);
  self->hook_mask_ = lua_gethookmask(L);
  self->hook_count_ = lua_gethookcount(L);
  self->hooked_ = true;
  lua_sethook(L, on_hook, kHookMask, 1);
}

void BlockWatch::restore_hook(lua_State* L) {
  hooked_ = false;
  lua_sethook(L, hook_, hook_mask_, hook_count_);
}

void BlockWatch::on_hook(lua_State* L, lua_Debug*) {
  BlockWatch* self = t_watch;
  if (!self || !self->hooked_) return;
  self->restore_hook(L);
  if (present_ns() - self->since_.load() < self->threshold_ns_) {
    self->told_.store(false);  // the signal was meant for the run before
    return;
  }
  self->report(L, (present_ns() - self->since_.load()) / 1'000'000);
}

void BlockWatch::report(lua_State* L, int64_t ms) {
  const Log& log = gen_->plan->error_log;
  if (!log.enabled(kLogWarn)) return;
  lua::push_traceback(L, &L, 1);
  Str traceback = lua::error_text(L, "");
  log_write(log, context_, kLogWarn, 0, "lua has blocked the event loop for %lld ms by now\n%.*s",
            static_cast<long long>(ms), STR(traceback));
  lua_pop(L, 1);
}

}  // namespace moonphase::engine
