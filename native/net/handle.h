// The only place that calls uv_close.
#pragma once

#include <uv.h>

namespace moonphase::net {

// Closes the handle and calls `done(handle->data…)` when libuv has let it go; `done` may free it.
void close_handle(uv_handle_t* handle, void (*done)(void* data), void* data);

}  // namespace moonphase::net
