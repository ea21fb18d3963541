// What lua-resty-core's shdict module calls. Its contract: texts in *errmsg are literals that
// nobody frees, a string that did not fit into the caller's buffer comes in one from malloc(),
// which the caller frees.
#include <cstdlib>
#include <cstring>

#include "ngx/shared_dict.h"

#include "base/clock.h"
#include "shm/first_thread.h"
#include "shm/zone.h"

#define SHDICT_FFI extern "C" __attribute__((visibility("default")))

namespace {

using namespace moonphase;

shm::Dict& dict(void* zone) { return static_cast<shm::Zone*>(zone)->dict; }

Str text(const unsigned char* p, size_t n) { return {reinterpret_cast<const char*>(p), n}; }

const Clock* thread_clock() { return &moonphase::now(); }
int64_t wall_ms() { return shm::FirstThread<const Clock, thread_clock>::get()->wall_ms; }

void report(char** to, const char* error) {
  if (error != nullptr) *to = const_cast<char*>(error);
}

}  // namespace

// `zone_udata` is the userdata at [1] of a dictionary, a ngx::SharedDict, whose first member is the
// zone; it is empty once its VM is being closed. Lua code may have put something else there.
SHDICT_FFI void* ngx_http_lua_ffi_shdict_udata_to_zone(void* zone_udata) {
  auto* dict = static_cast<ngx::SharedDict*>(zone_udata);
  return dict != nullptr && dict->tag == &ngx::SharedDict::kTag ? dict->zone : nullptr;
}

SHDICT_FFI int ngx_http_lua_ffi_shdict_get(void* zone, const unsigned char* key, size_t key_len,
                                           int* value_type, unsigned char** str_value_buf,
                                           size_t* str_value_len, double* num_value,
                                           int* user_flags, int get_stale, int* is_stale,
                                           char** errmsg) {
  *errmsg = nullptr;
  shm::Sink sink{reinterpret_cast<char*>(*str_value_buf), *str_value_len,
                 [](void*, size_t n) { return static_cast<char*>(std::malloc(n)); }, nullptr};
  shm::Dict& d = dict(zone);
  int64_t now = wall_ms();
  shm::GetResult res = get_stale != 0 ? d.get_stale(text(key, key_len), now, sink)
                                      : d.get(text(key, key_len), now, sink);
  *value_type = static_cast<int>(res.type);
  if (res.rc != kOk) {
    report(errmsg, res.error);
    return res.rc;
  }
  switch (res.type) {
    case shm::Type::kNil:
      return kOk;
    case shm::Type::kBoolean:
      if (*str_value_len == 0) return kError;
      **str_value_buf = res.number != 0;
      break;
    case shm::Type::kNumber:
      *num_value = res.number;
      *str_value_len = sizeof(double);
      break;
    case shm::Type::kEncoded:
      if (reinterpret_cast<unsigned char*>(const_cast<char*>(res.data)) != *str_value_buf)
        std::free(const_cast<char*>(res.data));
      *errmsg = const_cast<char*>("value is a table");
      return kError;
    default:
      if (res.size > 0)
        *str_value_buf = reinterpret_cast<unsigned char*>(const_cast<char*>(res.data));
      *str_value_len = res.size;
  }
  *user_flags = static_cast<int>(res.user_flags);
  if (get_stale != 0) *is_stale = res.stale;
  return kOk;
}

SHDICT_FFI int ngx_http_lua_ffi_shdict_store(void* zone, int op, const unsigned char* key,
                                             size_t key_len, int value_type,
                                             const unsigned char* str_value_buf,
                                             size_t str_value_len, double num_value, long exptime,
                                             int user_flags, char** errmsg, int* forcible) {
  shm::Value value{static_cast<shm::Type>(value_type), num_value,
                   text(str_value_buf, str_value_len)};
  shm::StoreResult res = dict(zone).store(op, text(key, key_len), value, exptime,
                                          static_cast<uint32_t>(user_flags), wall_ms());
  *forcible = res.forcible;
  report(errmsg, res.error);
  return res.rc;
}

SHDICT_FFI int ngx_http_lua_ffi_shdict_incr(void* zone, const unsigned char* key, size_t key_len,
                                            double* value, char** err, int has_init, double init,
                                            long init_ttl, int* forcible) {
  shm::IncrResult res =
      dict(zone).incr(text(key, key_len), *value, has_init != 0, init, init_ttl, wall_ms());
  *forcible = res.forcible;
  if (res.rc == kOk) *value = res.number;
  report(err, res.error);
  return res.rc;
}

SHDICT_FFI int ngx_http_lua_ffi_shdict_flush_all(void* zone) {
  dict(zone).flush_all(wall_ms());
  return kOk;
}

// Milliseconds, 0 for an entry without an end, or kDeclined; as in OpenResty, -5 is ambiguous.
SHDICT_FFI long ngx_http_lua_ffi_shdict_get_ttl(void* zone, const unsigned char* key,
                                                size_t key_len) {
  int64_t ttl = 0;
  Rc rc = dict(zone).ttl(text(key, key_len), wall_ms(), &ttl);
  return rc == kOk ? static_cast<long>(ttl) : static_cast<long>(rc);
}

SHDICT_FFI int ngx_http_lua_ffi_shdict_set_expire(void* zone, const unsigned char* key,
                                                  size_t key_len, long exptime) {
  return dict(zone).set_expire(text(key, key_len), exptime, wall_ms());
}

SHDICT_FFI size_t ngx_http_lua_ffi_shdict_capacity(void* zone) { return dict(zone).capacity(); }

SHDICT_FFI size_t ngx_http_lua_ffi_shdict_free_space(void* zone) { return dict(zone).free_space(); }
