#include "net/wakeup.h"

#include "net/handle.h"

namespace moonphase::net {

Wakeup* Wakeup::create(Loop* loop, void (*fn)(void* data), void* data) {
  auto* w = new Wakeup();
  w->loop_ = loop;
  w->fn_ = fn;
  w->data_ = data;
  w->async_.data = w;
  int rc = uv_async_init(loop->uv(), &w->async_, [](uv_async_t* async) {
    auto* self = static_cast<Wakeup*>(async->data);
    if (self->fn_ == nullptr) return;
    Loop::Scope scope(*self->loop_);
    self->fn_(self->data_);
  });
  if (rc != 0) {
    delete w;
    return nullptr;
  }
  uv_unref(reinterpret_cast<uv_handle_t*>(&w->async_));
  return w;
}

void Wakeup::send() { uv_async_send(&async_); }

void Wakeup::close() {
  fn_ = nullptr;
  close_handle(
      reinterpret_cast<uv_handle_t*>(&async_), [](void* w) { delete static_cast<Wakeup*>(w); },
      this);
}

}  // namespace moonphase::net
