// `server NAME resolve`: names that are resolved again whenever their addresses expire. One worker
// does it for all, since the zone shows everybody what it finds.
#pragma once

#include <memory>
#include <vector>

#include "engine/upstream/zone.h"
#include "net/loop.h"

namespace moonphase::engine {

class NameWatch {
 public:
  NameWatch(Generation* g, UpstreamGroup* group, const UpstreamServerPlan* server);
  ~NameWatch();
  NameWatch(const NameWatch&) = delete;
  NameWatch& operator=(const NameWatch&) = delete;

 private:
  void ask();
  void answered(const net::ResolveResult& result);
  void put(const std::vector<net::ResolvedAddress>& addresses);
  Generation* g_;
  UpstreamGroup* group_;
  const UpstreamServerPlan* server_;
  std::string host_;
  int port_ = 0;
  net::ResolverConf conf_;
  int64_t timeout_ = 30000;
  net::Timer timer_{};
  net::Resolution* pending_ = nullptr;
};

// In the generation's first worker.
void start_resolving(Generation* g);

}  // namespace moonphase::engine
