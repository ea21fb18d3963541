#include "net/handle.h"

namespace moonphase::net {

namespace {
struct Closing {
  void (*done)(void*);
  void* data;
};
}  // namespace

void close_handle(uv_handle_t* handle, void (*done)(void* data), void* data) {
  handle->data = new Closing{done, data};
  uv_close(handle, [](uv_handle_t* h) {
    auto* c = static_cast<Closing*>(h->data);
    Closing copy = *c;
    delete c;
    if (copy.done) copy.done(copy.data);
  });
}

}  // namespace moonphase::net
