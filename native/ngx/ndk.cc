// ndk.set_var.
#include "engine/set_filters.h"
#include "ngx/api.h"
#include "ngx/ffi.h"

namespace moonphase::ngx {

// The global `ndk`, also as a module; lua-resty-core adds set_var.
void open_ndk(lua_State* L) {
  lua_newtable(L);
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "loaded");
  lua_pushvalue(L, -3);
  lua_setfield(L, -2, "ndk");
  lua_pop(L, 2);
  lua_setglobal(L, "ndk");
}

}  // namespace moonphase::ngx

using namespace moonphase;
using namespace moonphase::ngx;

MOONPHASE_FFI int ngx_http_lua_ffi_ndk_lookup_directive(const unsigned char* var_data,
                                                        size_t var_len, const void** func) {
  const engine::SetFilter* filter = engine::find_set_filter(str(var_data, var_len));
  *func = filter && filter->callable ? filter : nullptr;
  return *func ? kOk : kError;
}

MOONPHASE_FFI int ngx_http_lua_ffi_ndk_set_var_get(Request* r, const void* func,
                                                   const unsigned char* arg_data, size_t arg_len,
                                                   NgxFfiStr* value) {
  Str arg = str(arg_data, arg_len), result;
  if (!static_cast<const engine::SetFilter*>(func)->apply(r, &arg, &result)) return kError;
  // The result may be the argument itself, which Lua owns: it is copied by the caller at once.
  *value = ffi_str(result);
  return kOk;
}
