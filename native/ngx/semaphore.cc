// ngx.semaphore: what lua-resty-core's module calls.
#include "engine/pending.h"
#include "engine/phases.h"
#include "engine/running.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

struct Semaphore;

// One waiting coroutine; in the queue of its semaphore, in order.
struct SemaphoreWait final : public engine::Pending {
  void unlink();
  int results(lua_State* L) override;
  void cancel() override;
  static void expired(void* self);

  Semaphore* semaphore = nullptr;  // null: out of the queue
  SemaphoreWait *next = nullptr, *prev = nullptr;
  net::Timer timer{};
  bool granted = false;
  const Log* log = nullptr;  // the generation's
};

struct Semaphore {
  explicit Semaphore(int n) : count(n) {
    posted.fn = grant;
    posted.data = this;
  }
  void append(SemaphoreWait* w) {
    w->semaphore = this;
    w->prev = last;
    (last ? last->next : first) = w;
    last = w;
    ++waiting;
  }
  static void grant(void* self);

  int count;
  int waiting = 0;
  SemaphoreWait *first = nullptr, *last = nullptr;
  net::Posted posted{};
  bool granting = false, dead = false;
};

void SemaphoreWait::unlink() {
  if (!semaphore) return;
  (prev ? prev->next : semaphore->first) = next;
  (next ? next->prev : semaphore->last) = prev;
  --semaphore->waiting;
  semaphore = nullptr;
  if (timer.set()) net::current_loop()->clear_timer(&timer);
}

int SemaphoreWait::results(lua_State* L) {
  lua_pushboolean(L, granted);
  if (granted) {
    lua_pushnil(L);
  } else {
    lua_pushliteral(L, "timeout");
  }
  delete this;
  return 2;
}

void SemaphoreWait::cancel() {
  if (log->enabled(kLogDebug)) log_write(*log, nullptr, kLogDebug, 0, "http lua semaphore cleanup");
  unlink();
  delete this;
}

void SemaphoreWait::expired(void* self) {
  auto* w = static_cast<SemaphoreWait*>(self);
  w->unlink();
  engine::wake(w);
}

// What was posted wakes those who have waited longest. A coroutine that goes on may drop the
// semaphore.
void Semaphore::grant(void* self) {
  auto* s = static_cast<Semaphore*>(self);
  s->granting = true;
  while (!s->dead && s->first && s->count > 0) {
    SemaphoreWait* w = s->first;
    w->unlink();
    --s->count;
    w->granted = true;
    engine::wake(w);
  }
  s->granting = false;
  if (s->dead) delete s;
}

}  // namespace moonphase::ngx

using namespace moonphase;
using namespace moonphase::ngx;

namespace {

// Where debug lines go; null: nowhere.
const Log* debug_log() {
  const engine::Generation* g = engine::running();
  return g && g->plan->error_log.enabled(kLogDebug) ? &g->plan->error_log : nullptr;
}

}  // namespace

MOONPHASE_FFI int ngx_http_lua_ffi_sema_new(Semaphore** sem, int n, char**) {
  *sem = new Semaphore(n);
  if (const Log* log = debug_log()) [[unlikely]]
    log_write(*log, nullptr, kLogDebug, 0, "http lua semaphore new: %p, resources: %d",
              static_cast<void*>(*sem), n);
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_sema_post(Semaphore* sem, int n) {
  if (const Log* log = debug_log()) [[unlikely]]
    log_write(*log, nullptr, kLogDebug, 0, "http lua semaphore post: %p, n: %d, resources: %d",
              static_cast<void*>(sem), n, sem->count);
  sem->count += n;
  if (sem->first && !sem->posted.queued) net::current_loop()->post(&sem->posted);
  return kOk;
}

MOONPHASE_FFI int ngx_http_lua_ffi_sema_wait(Request* r, Semaphore* sem, int wait_ms,
                                             unsigned char* err, size_t* errlen) {
  if (engine::check_ffi(r, engine::kCapSemaphoreWait, reinterpret_cast<char*>(err), errlen) != kOk)
    return kError;
  const Log* log = debug_log();
  if (log) [[unlikely]]
    log_write(*log, nullptr, kLogDebug, 0,
              "http lua semaphore wait: %p, timeout: %d, resources: %d, event posted: %d",
              static_cast<void*>(sem), wait_ms, sem->count, sem->posted.queued ? 1 : 0);
  if (!sem->first && sem->count > 0) {
    --sem->count;
    return kOk;
  }
  if (wait_ms == 0) return kDeclined;
  LuaCtx* ctx = engine::ctx_of(r);
  if (!ctx->current) return ffi_error(err, errlen, "no co ctx found");
  auto* w = new SemaphoreWait();
  w->timer.fn = SemaphoreWait::expired;
  w->timer.data = w;
  w->log = &ctx->gen->plan->error_log;
  sem->append(w);
  net::current_loop()->set_timer(&w->timer, static_cast<uint64_t>(wait_ms));
  engine::wait_later(ctx, w);
  if (log) [[unlikely]]
    log_write(*log, nullptr, kLogDebug, 0, "http lua semaphore wait yielding");
  return kAgain;
}

MOONPHASE_FFI int ngx_http_lua_ffi_sema_count(Semaphore* sem) { return sem->count - sem->waiting; }

MOONPHASE_FFI void ngx_http_lua_ffi_sema_gc(Semaphore* sem) {
  if (!sem) return;
  if (const Log* log = debug_log()) [[unlikely]]
    log_write(*log, nullptr, kLogDebug, 0, "in lua gc, semaphore %p", static_cast<void*>(sem));
  while (SemaphoreWait* w = sem->first) {
    w->unlink();
    engine::forget(w);
    delete w;
  }
  if (sem->posted.queued) net::current_loop()->cancel(&sem->posted);
  sem->dead = true;
  if (!sem->granting) delete sem;
}
