#include "engine/socket_pool.h"

#include "engine/cosocket.h"
#include "engine/runtime.h"

namespace moonphase::engine {

SocketPool::~SocketPool() {
  while (!idle_.empty()) drop(idle_.front().get());
}

std::unique_ptr<IdleConnection> SocketPool::take() {
  if (idle_.empty()) return nullptr;
  std::unique_ptr<IdleConnection> idle = std::move(idle_.front());
  idle_.pop_front();
  pools_->loop->clear_timer(&idle->timer);
  return idle;
}

void SocketPool::drop(IdleConnection* idle) {
  pools_->loop->clear_timer(&idle->timer);
  idle->stream->close();
  idle_.erase(idle->place);
  --connections;
}

void SocketPool::on_readable(void* data) {
  auto* idle = static_cast<IdleConnection*>(data);
  char byte;
  if (idle->stream->peek(&byte, 1) == net::kIoAgain) return;
  SocketPool* pool = idle->pool;
  pool->drop(idle);
  pool->admit();
}

void SocketPool::on_timeout(void* data) {
  auto* idle = static_cast<IdleConnection*>(data);
  SocketPool* pool = idle->pool;
  pool->drop(idle);
  pool->admit();
}

bool SocketPool::put(std::unique_ptr<IdleConnection> idle, int64_t keep_ms) {
  char byte;
  if (idle->stream->peek(&byte, 1) != net::kIoAgain) {
    idle->stream->close();
    return false;
  }
  if (full()) drop(idle_.back().get());
  IdleConnection* raw = idle.get();
  raw->pool = this;
  raw->timer.fn = on_timeout;
  raw->timer.data = raw;
  if (keep_ms > 0) pools_->loop->set_timer(&raw->timer, static_cast<uint64_t>(keep_ms), 300);
  raw->stream->set_events({on_readable, [](void*) {}}, raw);
  raw->stream->want_write(false);
  raw->stream->want_read(true);
  idle_.push_front(std::move(idle));
  raw->place = idle_.begin();
  return true;
}

void SocketPool::admit() {
  if (waiting.empty() || connections >= size_ + static_cast<int>(waiting.size())) return;
  CoSocket* next = waiting.front();
  waiting.pop_front();
  --connections;  // it was counted while queued; connecting counts it again
  next->resume_connect();
}

SocketPool* SocketPools::find(Str key) {
  auto it = pools_.find(std::string(key));
  return it == pools_.end() ? nullptr : it->second.get();
}

SocketPool* SocketPools::make(Str key, int size, int backlog) {
  std::unique_ptr<SocketPool>& slot = pools_[std::string(key)];
  if (!slot) slot = std::make_unique<SocketPool>(this, std::string(key), size, backlog);
  return slot.get();
}

void SocketPools::close_idle() {
  closing = true;
  for (auto& [key, pool] : pools_)
    while (!pool->idle_.empty()) pool->drop(pool->idle_.front().get());
}

SocketPools& socket_pools(Generation* g) {
  if (!g->socket_pools) g->socket_pools = new SocketPools(net::current_loop());
  return *static_cast<SocketPools*>(g->socket_pools);
}

void destroy_socket_pools(Generation* g) {
  delete static_cast<SocketPools*>(g->socket_pools);
  g->socket_pools = nullptr;
}

}  // namespace moonphase::engine
