#include "bind/zones.h"

#include <memory>

#include "bind/js_error.h"
#include "bind/napi_util.h"
#include "engine/worker_stats.h"
#include "shm/zone.h"

namespace moonphase::bind {

namespace {

void release(napi_env, void* data, void*) {
  if (data) shm::zone_registry_release(static_cast<shm::Zone*>(data));
}

// openZone({name, size, exact} or {name, size, plain: true}): {fd, close()}; the memory stays until
// close() or until nobody refers to the object.
napi_value open_zone(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  shm::ZoneSpec spec;
  spec.name = bytes_of(env, js_get(env, args[0], "name"));
  spec.size = static_cast<uint64_t>(number_option(env, args[0], "size", 0));
  spec.exact = bool_option(env, args[0], "exact", false);
  spec.plain = bool_option(env, args[0], "plain", false);
  std::string error;
  shm::Zone* zone = shm::zone_registry_open(spec, &error);
  if (!zone) {
    throw_error(env, "ERR_MOONPHASE_START", error);
    return nullptr;
  }
  napi_value object = nullptr;
  napi_create_object(env, &object);
  napi_wrap(env, object, zone, release, nullptr, nullptr);
  js_set(env, object, "fd", js_number(env, zone->segment.fd()));
  add_function(env, object, "close", [](napi_env e, napi_callback_info i) -> napi_value {
    Args<0> a(e, i);
    void* data = nullptr;
    if (napi_remove_wrap(e, a.self, &data) == napi_ok) release(e, data, nullptr);
    return nullptr;
  });
  return object;
}

// openStatistics(): {fd, close()}, the memory that workers count in.
napi_value open_statistics(napi_env env, napi_callback_info) {
  auto segment = std::make_unique<shm::Segment>();
  std::string error;
  if (!engine::WorkerStats::create(segment.get(), &error)) {
    throw_error(env, "ERR_MOONPHASE_START", error);
    return nullptr;
  }
  napi_value object = nullptr;
  napi_create_object(env, &object);
  js_set(env, object, "fd", js_number(env, segment->fd()));
  auto free = [](napi_env, void* data, void*) { delete static_cast<shm::Segment*>(data); };
  napi_wrap(env, object, segment.release(), free, nullptr, nullptr);
  add_function(env, object, "close", [](napi_env e, napi_callback_info i) -> napi_value {
    Args<0> a(e, i);
    void* data = nullptr;
    if (napi_remove_wrap(e, a.self, &data) == napi_ok) delete static_cast<shm::Segment*>(data);
    return nullptr;
  });
  return object;
}

}  // namespace

void define_zones(napi_env env, napi_value exports) {
  add_function(env, exports, "openZone", open_zone);
  add_function(env, exports, "openStatistics", open_statistics);
  // removeUnusedZones(space): those that nobody uses any more.
  add_function(env, exports, "removeUnusedZones",
               [](napi_env e, napi_callback_info i) -> napi_value {
                 Args<1> a(e, i);
                 shm::Segment::remove_unused(bytes_of(e, a[0]));
                 return nullptr;
               });
}

}  // namespace moonphase::bind
