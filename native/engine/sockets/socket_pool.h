// What the cosockets of one generation share: the resolver, and pools of idle connections by key,
// with the connects that wait for a place (`backlog`).
#pragma once

#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/log.h"
#include "engine/plan.h"
#include "engine/sockets/peer.h"
#include "lua/vm.h"
#include "net/resolver.h"
#include "net/stream.h"

namespace moonphase::engine {

struct Generation;
class CoSocket;
class SocketPools;

// What a pool keeps and gives back.
struct KeptConnection {
  net::Stream* stream = nullptr;
  Peer peer;
  int reused = 0;
};

class SocketPool {
 public:
  SocketPool(SocketPools* pools, std::string key, int size, int backlog)
      : pools_(pools), key_(std::move(key)), size_(size), backlog_(backlog) {}
  ~SocketPool();

  // The idle connection used last, if there is one.
  std::optional<KeptConnection> take();
  // `keep_ms` 0: for ever. The least recently used one goes when the pool is full.
  void put(KeptConnection connection, int64_t keep_ms);
  bool full() const { return static_cast<int>(idle_.size()) >= size_; }

  int size() const { return size_; }
  int backlog() const { return backlog_; }
  // Connections that count: in use through this pool, connecting, idle, and queued.
  int connections = 0;
  std::deque<CoSocket*> waiting;
  // A connection has come back: the next waiting connect goes on.
  void admit();
  // One that counted has gone. With the last one the pool itself goes, too.
  void release();
  const std::string& key() const { return key_; }

 private:
  friend class SocketPools;
  // A connection at rest.
  struct Idle {
    KeptConnection connection;
    net::Timer timer{};
    SocketPool* pool = nullptr;
    std::list<Idle>::iterator place;
  };
  static void on_readable(void* data);
  static void on_timeout(void* data);
  void drop(Idle* idle);
  void drop_all();
  void debug(const char* format, ...) const __attribute__((format(printf, 2, 3)));
  SocketPools* pools_;
  std::string key_;
  int size_;
  int backlog_;
  std::list<Idle> idle_;   // the front was used last
  std::list<Idle> taken_;  // nodes without a connection, for the next ones
};

class SocketPools {
 public:
  SocketPools(net::Loop* l, const Log* log) : loop(l), resolver(l, log), log_(log) {}
  SocketPool* find(Str key);
  SocketPool* make(Str key, int size, int backlog);
  // The generation ends: idle connections close now.
  void close_idle();
  net::Loop* loop;
  net::Resolver resolver;
  bool closing = false;

 private:
  friend class SocketPool;
  friend SocketPools& socket_pools(Generation* g, lua::Vm* vm);
  static void vm_closes(void* pools);
  const Log* log_;
  StrMap<std::unique_ptr<SocketPool>> pools_;
  std::unordered_map<lua::Vm*, std::unique_ptr<SocketPools>> of_vms_;
  SocketPools* parent_ = nullptr;  // of a VM's own: the generation's
  lua::Vm* vm_ = nullptr;
};

// Made on first use; destroyed with the generation by destroy_socket_pools.
SocketPools& socket_pools(Generation* g);
// The pools for the sockets of a VM: the generation's, or those of a request's own VM, which go
// with it.
SocketPools& socket_pools(Generation* g, lua::Vm* vm);
void destroy_socket_pools(Generation* g);

}  // namespace moonphase::engine
