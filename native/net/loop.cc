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

struct Loop::Impl {
  uv_timer_t timer{};
  uint64_t armed_for = 0;  // when uv's timer fires; 0: stopped
  TimerHeap heap;
  uint64_t order = 0;
  Posted* first_posted = nullptr;
  Posted** last_posted = &first_posted;
  std::vector<Deferred> deferred, freeing;
  int depth = 0;
  bool leaving = false;
  bool referenced = true;
  uint64_t seen_ms = ~uint64_t{0};  // uv_now at the last clock_update

  static void on_timer(uv_timer_t* h);
  void arm(Loop* loop);
  void leave(Loop* loop);
  bool pending() const { return first_posted || !deferred.empty(); }
  void wake(Loop* loop);
};

Loop::Loop(uv_loop_t* uv) : impl_(new Impl), uv_(uv) {
  uv_timer_init(uv, &impl_->timer);
  impl_->timer.data = this;
  clock_update();
}

Loop::~Loop() {
  impl_->leave(this);
  uv_timer_stop(&impl_->timer);
  close_handle(
      reinterpret_cast<uv_handle_t*>(&impl_->timer), [](void* p) { delete static_cast<Impl*>(p); },
      impl_);
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
  if (armed_for && armed_for <= t->due) return;
  uint64_t present = static_cast<uint64_t>(now().monotonic_ms);
  uint64_t wait = t->due > present ? t->due - present : 0;
  // uv counts from its own idea of now, which may lag behind ours.
  uint64_t uv_present = uv_now(loop->uv_);
  if (present > uv_present && present - uv_present < 60000) wait += present - uv_present;
  uv_timer_start(&timer, on_timer, wait, 0);
  armed_for = t->due ? t->due : 1;
}

void Loop::Impl::wake(Loop* loop) {
  if (armed_for == 1) return;
  uv_timer_start(&timer, on_timer, 0, 0);
  armed_for = 1;
  (void)loop;
}

void Loop::Impl::on_timer(uv_timer_t* h) {
  auto* loop = static_cast<Loop*>(h->data);
  Impl* d = loop->impl_;
  Scope scope(*loop);
  d->armed_for = 0;
  uint64_t present = static_cast<uint64_t>(now().monotonic_ms);
  // Timers set by the callbacks wait for the next turn, even with a delay of 0.
  uint64_t last = d->order;
  for (Timer* t; (t = d->heap.first()) && t->due <= present && t->order <= last;) {
    d->heap.remove(t);
    t->fn(t->data);
  }
  d->arm(loop);
}

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
  auto* h = reinterpret_cast<uv_handle_t*>(&impl_->timer);
  if (on)
    uv_ref(h);
  else
    uv_unref(h);
}

Loop* current_loop() { return t_loop; }
void set_current_loop(Loop* loop) { t_loop = loop; }

}  // namespace moonphase::net
