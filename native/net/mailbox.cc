#include "net/mailbox.h"

#include "net/handle.h"

namespace moonphase::net {

Mailbox* Mailbox::open(Loop* loop) {
  auto* box = new Mailbox(loop);
  uv_async_init(loop->uv(), &box->async_, [](uv_async_t* async) {
    auto* self = static_cast<Mailbox*>(async->data);
    Loop::Scope scope(*self->loop_);
    self->deliver();
  });
  box->async_.data = box;
  uv_unref(reinterpret_cast<uv_handle_t*>(&box->async_));
  return box;
}

void Mailbox::expect(bool something) {
  auto* h = reinterpret_cast<uv_handle_t*>(&async_);
  if (something)
    uv_ref(h);
  else
    uv_unref(h);
}

void Mailbox::send(Letter* letter) {
  letter->next = nullptr;
  std::lock_guard lock(mutex_);
  *last_ = letter;
  last_ = &letter->next;
  uv_async_send(&async_);
}

void Mailbox::deliver() {
  Letter* letter;
  {
    std::lock_guard lock(mutex_);
    letter = first_;
    first_ = nullptr;
    last_ = &first_;
  }
  while (letter) {
    Letter* next = letter->next;
    letter->fn(letter->data);
    letter = next;
  }
}

void Mailbox::close() {
  close_handle(
      reinterpret_cast<uv_handle_t*>(&async_), [](void* p) { delete static_cast<Mailbox*>(p); },
      this);
}

}  // namespace moonphase::net
