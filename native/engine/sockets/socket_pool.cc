#include "engine/sockets/socket_pool.h"

#include <cstdarg>
#include <utility>

#include "engine/runtime.h"
#include "engine/sockets/cosocket.h"

namespace moonphase::engine {

SocketPool::~SocketPool() { drop_all(); }

void SocketPool::drop_all() {
  while (!idle_.empty()) {
    drop(&idle_.front());
    --connections;
  }
}

void SocketPool::debug(const char* format, ...) const {
  if (!pools_->log_->enabled(kLogDebug)) return;
  va_list ap;
  va_start(ap, format);
  log_writev(*pools_->log_, nullptr, kLogDebug, 0, format, ap);
  va_end(ap);
}

std::optional<KeptConnection> SocketPool::take() {
  if (idle_.empty()) return std::nullopt;
  Idle& idle = idle_.front();
  pools_->loop->clear_timer(&idle.timer);
  std::optional<KeptConnection> taken = std::move(idle.connection);
  taken_.splice(taken_.begin(), idle_, idle_.begin());
  return taken;
}

void SocketPool::drop(Idle* idle) {
  debug("lua tcp socket keepalive close handler: fd:%d", idle->connection.stream->fd());
  pools_->loop->clear_timer(&idle->timer);
  idle->connection.stream->close();
  idle_.erase(idle->place);
}

void SocketPool::on_readable(void* data) {
  auto* idle = static_cast<Idle*>(data);
  char byte;
  if (idle->connection.stream->peek(&byte, 1) == net::kIoAgain) return;
  SocketPool* pool = idle->pool;
  pool->drop(idle);
  pool->release();
}

void SocketPool::on_timeout(void* data) {
  auto* idle = static_cast<Idle*>(data);
  SocketPool* pool = idle->pool;
  pool->debug("lua tcp socket keepalive max idle timeout");
  pool->drop(idle);
  pool->release();
}

void SocketPool::put(KeptConnection connection, int64_t keep_ms) {
  if (full()) {
    drop(&idle_.back());
    --connections;
  }
  if (taken_.empty()) taken_.emplace_front();
  idle_.splice(idle_.begin(), taken_, taken_.begin());
  Idle* idle = &idle_.front();
  idle->connection = std::move(connection);
  idle->pool = this;
  idle->place = idle_.begin();
  idle->timer.fn = on_timeout;
  idle->timer.data = idle;
  if (keep_ms > 0) pools_->loop->set_timer(&idle->timer, static_cast<uint64_t>(keep_ms), 300);
  net::Stream* stream = idle->connection.stream;
  stream->set_events({on_readable, [](void*) {}}, idle);
  stream->want_write(false);
  stream->want_read(true);
}

void SocketPool::admit() {
  // Those that wait count, too.
  if (waiting.empty()) return;
  if (idle_.empty() && connections - static_cast<int>(waiting.size()) >= size_) return;
  CoSocket* next = waiting.front();
  waiting.pop_front();
  --connections;  // it was counted while queued; connecting counts it again
  next->resume_connect();
}

void SocketPool::release() {
  if (--connections > 0) {
    admit();
    return;
  }
  debug("lua tcp socket keepalive: free connection pool for \"%s\"", key_.c_str());
  pools_->pools_.erase(std::string(key_));
}

SocketPool* SocketPools::find(Str key) {
  auto it = pools_.find(key);
  return it == pools_.end() ? nullptr : it->second.get();
}

SocketPool* SocketPools::make(Str key, int size, int backlog) {
  std::unique_ptr<SocketPool>& slot = pools_[std::string(key)];
  if (!slot) slot = std::make_unique<SocketPool>(this, std::string(key), size, backlog);
  return slot.get();
}

void SocketPools::close_idle() {
  closing = true;
  for (auto it = pools_.begin(); it != pools_.end();) {
    SocketPool* pool = (it++)->second.get();
    pool->debug("lua tcp socket keepalive: free connection pool %" PTR " for \"%s\"", ptr(pool),
                pool->key().c_str());
    pool->drop_all();
    if (pool->connections == 0) pools_.erase(pool->key());
  }
}

SocketPools& socket_pools(Generation* g) {
  if (!g->socket_pools) g->socket_pools = new SocketPools(net::current_loop(), &g->plan->error_log);
  return *static_cast<SocketPools*>(g->socket_pools);
}

SocketPools& socket_pools(Generation* g, lua::Vm* vm) {
  SocketPools& all = socket_pools(g);
  if (vm == g->vm) return all;
  std::unique_ptr<SocketPools>& own = all.of_vms_[vm];
  if (!own) {
    own = std::make_unique<SocketPools>(all.loop, all.log_);
    own->parent_ = &all;
    own->vm_ = vm;
    vm->on_close(SocketPools::vm_closes, own.get());
  }
  return *own;
}

// Its sockets are collected after this, and may still count in a pool.
void SocketPools::vm_closes(void* p) {
  auto* self = static_cast<SocketPools*>(p);
  self->close_idle();
  auto it = self->parent_->of_vms_.find(self->vm_);
  it->second.release();
  self->parent_->of_vms_.erase(it);
  self->loop->defer_free([](void* pools) { delete static_cast<SocketPools*>(pools); }, self);
}

void destroy_socket_pools(Generation* g) {
  delete static_cast<SocketPools*>(g->socket_pools);
  g->socket_pools = nullptr;
}

}  // namespace moonphase::engine
