// Who wants to know of changes in a zone: a thread that sleeps until there is news, whichever
// process made it.
#pragma once

#include <atomic>
#include <thread>

#include "shm/zone.h"

namespace moonphase::shm {

class Watch {
 public:
  // `wake(data)` is called on the watch's own thread when there is something to read(). The zone is
  // retained.
  Watch(Zone* zone, void (*wake)(void* data), void* data);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  // Changes from now on count. Null, or why not.
  const char* start();
  // News since the last call, from any one thread; see Dict::read_changes.
  void read(void (*each)(void* owner, Change change, Str key), void* owner);

 private:
  void run();

  Zone* const zone_;
  void (*const wake_)(void* data);
  void* const data_;
  uint64_t position_ = 0;
  uint32_t seen_ = 0;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace moonphase::shm
