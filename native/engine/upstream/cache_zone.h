// proxy_cache_path: where answers are kept. The files lie as nginx's do, the index of them in
// shared memory. One worker at a time looks after them: it reads in what lies there at the start,
// and removes what nobody has asked for, or what is too much.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/plan.h"
#include "net/loop.h"
#include "shm/cache_index.h"
#include "shm/zone.h"

namespace moonphase::engine {

struct Generation;

struct IndexLock {
  explicit IndexLock(shm::CacheIndex& index) : index_(index) { index_.lock(); }
  ~IndexLock() { index_.unlock(); }
  IndexLock(const IndexLock&) = delete;
  IndexLock& operator=(const IndexLock&) = delete;
  shm::CacheIndex& index_;
};

struct CacheZone {
  std::string name, path;
  size_t size = 0;
  std::vector<int> levels;
  int64_t inactive = 600000;           // ms
  int64_t max_size = 0, min_free = 0;  // bytes; 0: no limit
  bool use_temp_path = true;
  int loader_files = 100, manager_files = 100;
  int64_t loader_sleep = 50, loader_threshold = 200, manager_sleep = 50, manager_threshold = 200;
  Where where;

  // Once mapped.
  shm::Zone* shared = nullptr;
  shm::CacheIndex index;

  CacheZone();
  ~CacheZone();
  CacheZone(const CacheZone&) = delete;
  CacheZone& operator=(const CacheZone&) = delete;
  bool open(int fd, const Log* log, std::string* error);
  // The file of a key, and what of it are the zone's own directories.
  std::string file_of(const unsigned char* key) const;
  // Makes the directories that the levels ask for.
  bool make_directories(const std::string& file) const;
  // Room for one more key: what was not used for the longest goes. Under no lock.
  void make_room();
  int64_t on_disk(int64_t bytes) const { return (bytes + 4095) / 4096 * 4096; }

 private:
  void tick();
  int64_t expire();  // ms until there is more to do
  int64_t shrink();
  bool forced(int most);  // false: nothing could go
  void remove_file(shm::CacheNode* node);
  void load_some();
  const Log* log_ = nullptr;
  net::Timer timer_{};
  struct Loader;
  std::unique_ptr<Loader> loader_;
};

// proxy_cache of a location.
struct CacheConf {
  Complex zone;
  std::shared_ptr<CacheZone> fixed;  // null: `zone` has variables
  std::shared_ptr<const std::vector<std::shared_ptr<CacheZone>>> all;
  bool has_key = false;
  Complex key;
  std::vector<Complex> bypass, no_cache;
  std::vector<std::pair<int, int64_t>> valid;  // status (0: any), ms
  int64_t min_uses = 1, max_range_offset = -1;
  uint32_t use_stale = 0, methods = 0;
  bool lock = false, revalidate = false, convert_head = true, background_update = false;
  int64_t lock_timeout = 5000, lock_age = 5000;
  std::string temp_path;
};

// Maps the zones of the plan's locations. False: *error.
bool open_caches(Generation* g, std::string* error);

}  // namespace moonphase::engine
