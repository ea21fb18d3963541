#include "shm/zone.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

namespace moonphase::shm {

namespace {

struct Registry {
  std::mutex mutex;
  std::vector<std::unique_ptr<Zone>> zones;
};

// Never destroyed: threads may outlive static destructors.
Registry& registry() {
  static auto* r = new Registry;
  return *r;
}

bool same_file(int a, int b) {
  struct stat x, y;
  return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool matches(const Zone& zone, const ZoneSpec& spec) {
  if (zone.spec.name != spec.name || zone.spec.size != spec.size || zone.spec.exact != spec.exact ||
      zone.spec.plain != spec.plain || zone.spec.shm != spec.shm) {
    return false;
  }
  return spec.fd < 0 || same_file(zone.segment.fd(), spec.fd);
}

bool map_zone(Zone* zone, std::string* error) {
  const ZoneSpec& spec = zone->spec;
  bool lean = !spec.shm.empty();
  uint64_t mapped = spec.plain ? spec.size : Dict::mapped_size(spec.size, lean);
  if (mapped == 0) {
    *error = "a size of " + std::to_string(spec.size) + " bytes is more than a zone can have";
    return false;
  }
  bool fresh = true;
  if (spec.fd >= 0) {
    fresh = false;
    int fd = fcntl(spec.fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
      *error = std::string("its descriptor is not usable (") + std::strerror(errno) + ")";
      return false;
    }
    if (!Segment::attach(fd, &zone->segment, error)) return false;
  } else if (lean) {
    std::function<bool(char*, uint64_t)> keep;
    if (spec.kept) {
      keep = [&spec](char* base, uint64_t size) {
        Dict d;
        return Dict::open(base, size, -1, &d) && d.configured() == spec.size;
      };
    }
    if (!Segment::open_named(spec.shm, mapped, keep, &zone->segment, &fresh, error)) return false;
  } else {
    if (!Segment::create("moonphase:" + spec.name, mapped, &zone->segment, error)) return false;
  }
  if (spec.plain) return true;
  if (fresh) {
    zone->dict = Dict::format(zone->segment.base(), spec.size, lean, spec.name, spec.exact,
                              zone->segment.fd());
    if (lean) zone->segment.settle();
    return true;
  }
  if (!Dict::open(zone->segment.base(), zone->segment.size(), zone->segment.fd(), &zone->dict)) {
    *error = "the memory that exists is not a zone of this version";
    return false;
  }
  if (spec.size != 0 && zone->dict.configured() != spec.size) {
    *error = "the zone exists with a size of " + std::to_string(zone->dict.configured()) + " bytes";
    return false;
  }
  return true;
}

}  // namespace

std::string zone_shm(const std::string& space, const std::string& name) {
  std::string s = space;
  for (char c : name) {
    auto u = static_cast<unsigned char>(c);
    if (std::isalnum(u) != 0 || c == '.' || c == '-') {
      s += c;
    } else {
      char hex[4];
      std::snprintf(hex, sizeof hex, "_%02x", u);
      s += hex;
    }
  }
  return s;
}

Zone* zone_registry_open(const ZoneSpec& spec, std::string* error) {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  for (auto& zone : r.zones) {
    if (matches(*zone, spec)) {
      zone->users++;
      return zone.get();
    }
  }
  auto zone = std::make_unique<Zone>();
  zone->name = spec.name;
  zone->spec = spec;
  std::string why;
  if (!map_zone(zone.get(), &why)) {
    *error = (spec.plain ? "zone \"" : "shared dictionary \"") + spec.name + "\": " + why;
    return nullptr;
  }
  zone->users = 1;
  r.zones.push_back(std::move(zone));
  return r.zones.back().get();
}

void zone_registry_retain(Zone* zone) {
  std::lock_guard lock(registry().mutex);
  zone->users++;
}

void zone_registry_release(Zone* zone) {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  if (--zone->users > 0) return;
  std::erase_if(r.zones, [zone](auto& z) { return z.get() == zone; });
}

}  // namespace moonphase::shm
