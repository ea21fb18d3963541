// ngx.shared of a server: the zones of its lua_shared_dict directives.
#include <vector>

#include "base/clock.h"
#include "engine/running.h"
#include "ngx/api.h"
#include "ngx/ffi.h"
#include "ngx/shared_dict.h"

namespace moonphase::ngx {

namespace {

shm::Zone* open_zone(const engine::Generation* g, const engine::SharedDictPlan& dict,
                     std::string* error) {
  shm::ZoneSpec spec;
  spec.name = dict.name;
  spec.size = dict.size;
  spec.exact = dict.exact;
  const auto& inherited = g->runtime->options.zone_fds;
  const engine::RuntimeOptions& options = g->runtime->options;
  if (auto it = inherited.find(dict.name); it != inherited.end()) {
    spec.fd = it->second;
  } else if (options.zones_by_name) {
    spec.shm = shm::zone_shm(options.zone_space, spec.name);
  }
  return shm::zone_registry_open(spec, error);
}

// make(name, size, exact, any): a dictionary that processes share by its name, made by the first.
// Nil and why not.
int make(lua_State* L) {
  size_t len = 0;
  const char* name = luaL_checklstring(L, 1, &len);
  engine::Generation* g = engine::generation_of(L);
  std::string why;
  shm::ZoneSpec spec;
  spec.name.assign(name, len);
  spec.size = read_size(L, 2);
  spec.exact = lua_toboolean(L, 3);
  shm::Zone* zone = nullptr;
  if (!g || g->runtime->options.zone_space.empty()) {
    why = "not in this process";
  } else if (spec.size < kSmallestDict) {
    why = "invalid size";
  } else {
    spec.shm = shm::zone_shm(g->runtime->options.zone_space, spec.name);
    spec.kept = g->runtime->options.zones_kept;
    zone = shm::zone_registry_open(spec, &why);
  }
  if (!zone) {
    lua_pushnil(L);
    lua_pushlstring(L, why.data(), why.size());
    return 2;
  }
  push_shared_dict(L, {.zone = zone, .any = lua_toboolean(L, 4) != 0});
  shm::zone_registry_release(zone);
  return 1;
}

}  // namespace

void open_shared_dict(lua_State* L) {
  std::vector<SharedDict> zones;
  std::string error;
  if (engine::Generation* g = engine::generation_of(L)) {
    for (const engine::SharedDictPlan& dict : g->plan->lua.shared_dicts) {
      shm::Zone* zone = open_zone(g, dict, &error);
      if (!zone) break;
      zones.push_back({.zone = zone, .any = dict.any});
    }
  }
  if (error.empty()) inject_shared_dicts(L, zones, make);
  for (const SharedDict& dict : zones) shm::zone_registry_release(dict.zone);
  if (!error.empty()) luaL_error(L, "%s", error.c_str());
}

}  // namespace moonphase::ngx

// --- lua-nginx-module's C interface to dictionaries, for Lua code that calls it by FFI ---

using namespace moonphase;

// The running server's zone; null: there is none of that name. It stays while the server does.
MOONPHASE_FFI void* ngx_http_lua_find_zone(const unsigned char* name, size_t len) {
  engine::Generation* g = engine::running();
  if (!g) return nullptr;
  for (const engine::SharedDictPlan& dict : g->plan->lua.shared_dicts) {
    if (dict.name != ngx::str(name, len)) continue;
    std::string error;
    shm::Zone* zone = ngx::open_zone(g, dict, &error);
    if (zone) shm::zone_registry_release(zone);  // the VM holds it
    return zone;
  }
  return nullptr;
}

struct NgxLuaValue {
  uint8_t type;
  union {
    int b;
    double n;
    NgxStr s;  // the caller's buffer; its length is the value's afterwards, cut to fit
  } value;
};

// kOk, kDeclined (nothing there), kDone (stale), kError.
MOONPHASE_FFI intptr_t ngx_http_lua_shared_dict_get(void* zone, const unsigned char* key,
                                                    size_t key_len, NgxLuaValue* value) {
  if (!zone) return kError;
  NgxStr room = value->value.s;
  std::string large;
  shm::Sink sink{reinterpret_cast<char*>(room.data), room.data ? room.len : 0,
                 [](void* data, size_t n) {
                   auto* s = static_cast<std::string*>(data);
                   s->resize(n);
                   return s->data();
                 },
                 &large};
  shm::GetResult res =
      static_cast<shm::Zone*>(zone)->dict.get(ngx::str(key, key_len), now().wall_ms, sink);
  if (res.rc != kOk) return kError;
  value->type = static_cast<uint8_t>(res.type);
  switch (res.type) {
    case shm::Type::kBoolean:
      value->value.b = res.number != 0;
      return kOk;
    case shm::Type::kNumber:
      value->value.n = res.number;
      return kOk;
    case shm::Type::kString: {
      if (!room.data || room.len == 0) return kError;
      size_t n = res.size < room.len ? res.size : room.len;
      if (n && res.data != reinterpret_cast<const char*>(room.data))
        std::memcpy(room.data, res.data, n);
      value->value.s.len = n;
      return kOk;
    }
    case shm::Type::kNil:
      return kDeclined;
    default:
      return kError;
  }
}
