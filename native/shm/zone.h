// Zones: named dictionaries, each mapped once per process, for all its threads and all its VMs.
#pragma once

#include <string>

#include "shm/dict.h"
#include "shm/segment.h"

namespace moonphase::shm {

struct ZoneSpec {
  std::string name;   // as `lua_shared_dict` gives it
  uint64_t size = 0;  // at least 8192, which the configuration checks; 0, with `fd`: whatever it is
  bool exact = false;  // one lock and one LRU order at any size
  int fd = -1;  // ≥ 0: another process made the zone; the registry duplicates the descriptor
  bool plain = false;  // memory of that size without a dictionary: PeerZone's
  std::string shm{};   // not empty: share by this name with whichever process opens it (no
                       // descriptor to inherit)
  bool kept = false;   // with `shm`: it outlives its users, until Segment::remove_unused()
};

struct Zone {
  ~Zone() {
    if (!spec.plain) dict.unmap();
  }
  std::string name;
  Dict dict;
  Segment segment;  // segment.fd(): what a child process attaches to
  ZoneSpec spec;
  unsigned users = 0;  // guarded by the registry
};

// What to share a zone by, among the processes that say the same `space`.
std::string zone_shm(const std::string& space, const std::string& name);

// The zone of this process that has the same name, size, `exact` and `shm`, or else a new one.
// Every successful call is paired with a release. Null and a sentence in *error on failure. Any
// thread.
Zone* zone_registry_open(const ZoneSpec& spec, std::string* error);
// One more user of an open zone.
void zone_registry_retain(Zone* zone);
// The last release unmaps; nobody may be inside an operation then.
void zone_registry_release(Zone* zone);

}  // namespace moonphase::shm
