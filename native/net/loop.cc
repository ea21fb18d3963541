#include "net/loop.h"

#include <utility>
#include <vector>

#include "net/handle.h"
#include "net/timer_heap.h"

namespace moonphase::net {

namespace {

thread_local Loop* t_loop = nullptr;

struct Deferred {
  void (*fn)(void*);
  void* data;
};

}  // namespace

// libuv runs a timer of 0 ms before it looks at any socket again, and one that such a timer has
// set, too: a loop of ngx.sleep(0) would starve everybody else. So what is due at once runs after
// the next look at the sockets: `idle` keeps that look from waiting, `check` follows it.
struct Loop::Impl {
  uv_timer_t timer{};
  uv_idle_t idle{};
  uv_prepare_t prepare{};
  uv_check_t check{};
  int handles = 4;
  bool soon = false;        // idle, prepare and check are at work
  uint64_t turn_order = 0;  // of the last timer that was set before this turn
  const Log* log = nullptr;
  uint64_t armed_for = 0;  // when uv's timer fires; 0: stopped
  TimerHeap heap;
  uint64_t order = 0;
  Posted* first_posted = nullptr;
  Posted** last_posted = &first_posted;
  std::vector<Deferred> deferred, freeing, at_end;
  int depth = 0;
  bool leaving = false;
  bool referenced = true;
  uint64_t seen_ms = ~uint64_t{0};  // uv_now at the last clock_update

  static void on_timer(uv_timer_t* h);
  void run_due(Loop* loop, uint64_t last);
  void arm(Loop* loop);
  void run_soon();
  void stop_soon();
  static void on_turn(uv_prepare_t* h);
  void leave(Loop* loop);
  bool pending() const { return first_posted || !deferred.empty(); }
  void wake(Loop* loop);
};

Loop::Loop(uv_loop_t* uv) : impl_(new Impl), uv_(uv) {
  uv_timer_init(uv, &impl_->timer);
  uv_idle_init(uv, &impl_->idle);
  uv_prepare_init(uv, &impl_->prepare);
  uv_check_init(uv, &impl_->check);
  impl_->timer.data = impl_->idle.data = impl_->prepare.data = impl_->check.data = this;
  // The other two never keep the process alive.
  uv_unref(reinterpret_cast<uv_handle_t*>(&impl_->prepare));
  uv_unref(reinterpret_cast<uv_handle_t*>(&impl_->check));
  clock_update();
}

Loop::~Loop() {
  impl_->leave(this);
  impl_->log = nullptr;
  impl_->stop_soon();
  for (const Deferred& end : impl_->at_end) end.fn(end.data);
  uv_timer_stop(&impl_->timer);
  auto gone = [](void* p) {
    auto* d = static_cast<Impl*>(p);
    if (--d->handles == 0) delete d;
  };
  close_handle(reinterpret_cast<uv_handle_t*>(&impl_->timer), gone, impl_);
  close_handle(reinterpret_cast<uv_handle_t*>(&impl_->idle), gone, impl_);
  close_handle(reinterpret_cast<uv_handle_t*>(&impl_->prepare), gone, impl_);
  close_handle(reinterpret_cast<uv_handle_t*>(&impl_->check), gone, impl_);
  if (t_loop == this) t_loop = nullptr;
}

// uv's timer follows the heap's first one. It may fire too early, never too late.
void Loop::Impl::arm(Loop* loop) {
  Timer* t = heap.first();
  if (!t) {
    if (armed_for) uv_timer_stop(&timer);
    armed_for = 0;
    return;
  }
  uint64_t present = static_cast<uint64_t>(now().monotonic_ms);
  if (t->due <= present) {
    run_soon();
    return;
  }
  if (armed_for && armed_for <= t->due) return;
  uint64_t wait = t->due - present;
  // uv counts from its own idea of now, which may lag behind ours.
  uint64_t uv_present = uv_now(loop->uv_);
  if (present > uv_present && present - uv_present < 60000) wait += present - uv_present;
  uv_timer_start(&timer, on_timer, wait, 0);
  armed_for = t->due;
}

void Loop::Impl::wake(Loop* loop) {
  if (armed_for == 1) return;
  uv_timer_start(&timer, on_timer, 0, 0);
  armed_for = 1;
  (void)loop;
}

void Loop::Impl::run_soon() {
  if (soon) return;
  soon = true;
  turn_order = 0;
  uv_prepare_start(&prepare, on_turn);
  uv_idle_start(&idle, [](uv_idle_t*) {});
  uv_check_start(&check, [](uv_check_t* h) {
    auto* loop = static_cast<Loop*>(h->data);
    Scope scope(*loop);
    loop->impl_->run_due(loop, loop->impl_->turn_order);
  });
}

void Loop::Impl::stop_soon() {
  soon = false;
  uv_idle_stop(&idle);
  uv_check_stop(&check);
  if (!log) uv_prepare_stop(&prepare);
}

void Loop::Impl::on_turn(uv_prepare_t* h) {
  auto* loop = static_cast<Loop*>(h->data);
  Impl* d = loop->impl_;
  d->turn_order = d->order;
  if (!d->log) return;
  log_write(*d->log, nullptr, kLogDebug, 0, "worker cycle");
  log_write(*d->log, nullptr, kLogDebug, 0, "epoll timer: %d", uv_backend_timeout(loop->uv_));
}

void Loop::Impl::on_timer(uv_timer_t* h) {
  auto* loop = static_cast<Loop*>(h->data);
  Scope scope(*loop);
  loop->impl_->armed_for = 0;
  loop->impl_->run_due(loop, loop->impl_->order);
}

// Timers set by the callbacks wait for another turn, even with a delay of 0.
void Loop::Impl::run_due(Loop* loop, uint64_t last) {
  uint64_t present = static_cast<uint64_t>(now().monotonic_ms);
  for (Timer* t; (t = heap.first()) && t->due <= present && t->order <= last;) {
    heap.remove(t);
    t->fn(t->data);
  }
  Timer* t = heap.first();
  if (soon && (!t || t->due > present)) stop_soon();
  arm(loop);
}

void Loop::trace(const Log* log) {
  impl_->log = log;
  if (log) {
    uv_prepare_start(&impl_->prepare, Impl::on_turn);
  } else if (!impl_->soon) {
    uv_prepare_stop(&impl_->prepare);
  }
}

const Log* Loop::traced() const { return impl_->log; }

void Loop::set_timer(Timer* t, uint64_t ms, uint64_t slack) {
  Impl* d = impl_;
  // The clock's millisecond has begun before now, so one more: nobody waits for less than `ms`.
  uint64_t due = static_cast<uint64_t>(clock_.monotonic_ms) + ms + (ms > 0 ? 1 : 0);
  if (t->set()) {
    uint64_t apart = due > t->due ? due - t->due : t->due - due;
    if (apart < slack || apart == 0) return;
    d->heap.remove(t);
  }
  t->due = due;
  t->order = ++d->order;
  d->heap.insert(t);
  if (d->heap.first() == t) d->arm(this);
}

void Loop::clear_timer(Timer* t) {
  if (!t->set()) return;
  impl_->heap.remove(t);
  if (impl_->heap.empty()) impl_->arm(this);
}

void Loop::post(Posted* p) {
  if (p->queued) return;
  p->queued = true;
  p->next = nullptr;
  *impl_->last_posted = p;
  impl_->last_posted = &p->next;
  if (!impl_->depth) impl_->wake(this);
}

void Loop::cancel(Posted* p) {
  if (!p->queued) return;
  p->queued = false;
  for (Posted** i = &impl_->first_posted; *i; i = &(*i)->next) {
    if (*i != p) continue;
    *i = p->next;
    if (impl_->last_posted == &p->next) impl_->last_posted = i;
    break;
  }
  p->next = nullptr;
}

void Loop::defer_free(void (*fn)(void*), void* data) {
  impl_->deferred.push_back({fn, data});
  if (!impl_->depth) impl_->wake(this);
}

void Loop::at_end(void (*fn)(void*), void* data) { impl_->at_end.push_back({fn, data}); }

void Loop::Impl::leave(Loop* loop) {
  (void)loop;
  while (pending()) {
    while (Posted* p = first_posted) {
      first_posted = p->next;
      if (!first_posted) last_posted = &first_posted;
      p->queued = false;
      p->next = nullptr;
      p->fn(p->data);
    }
    std::swap(deferred, freeing);
    for (const Deferred& f : freeing) f.fn(f.data);
    freeing.clear();
  }
}

Loop::Scope::Scope(Loop& loop, bool fresh) : loop_(loop) {
  Impl* d = loop.impl_;
  if (d->depth++ || !fresh) return;
  // Within one millisecond of one turn nothing changes that we could show.
  uint64_t ms = uv_now(loop.uv_);
  if (ms != d->seen_ms) {
    d->seen_ms = ms;
    clock_update();
  }
}

Loop::Scope::~Scope() {
  Impl* d = loop_.impl_;
  if (d->depth == 1) d->leave(&loop_);
  --d->depth;
}

void Loop::ref(bool on) {
  impl_->referenced = on;
  for (auto* h : {reinterpret_cast<uv_handle_t*>(&impl_->timer),
                  reinterpret_cast<uv_handle_t*>(&impl_->idle)}) {
    if (on)
      uv_ref(h);
    else
      uv_unref(h);
  }
}

Loop* current_loop() { return t_loop; }
void set_current_loop(Loop* loop) { t_loop = loop; }

}  // namespace moonphase::net
