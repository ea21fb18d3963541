// ngx.shared of a server: the zones of its lua_shared_dict directives.
#include <vector>

#include "ngx/api.h"
#include "ngx/ffi.h"
#include "ngx/shared_dict.h"

namespace moonphase::ngx {

void open_shared_dict(lua_State* L) {
  std::vector<SharedDict> zones;
  std::string error;
  if (engine::Generation* g = engine::generation_of(L)) {
    for (const engine::SharedDictPlan& dict : g->plan->lua.shared_dicts) {
      shm::ZoneSpec spec;
      spec.name = dict.name;
      spec.size = dict.size;
      spec.exact = dict.exact;
      const auto& inherited = g->runtime->options.zone_fds;
      if (auto it = inherited.find(dict.name); it != inherited.end()) spec.fd = it->second;
      shm::Zone* zone = shm::zone_registry_open(spec, &error);
      if (!zone) break;
      zones.push_back({zone, dict.any});
    }
  }
  if (error.empty()) inject_shared_dicts(L, zones);
  for (const SharedDict& dict : zones) shm::zone_registry_release(dict.zone);
  if (!error.empty()) luaL_error(L, "%s", error.c_str());
}

}  // namespace moonphase::ngx
