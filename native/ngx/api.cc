#include "ngx/api.h"

#include "engine/exec.h"

namespace moonphase::ngx {

void create_ngx(lua_State* L, int fields) {
  lua_createtable(L, 0, fields);
  lua_pushvalue(L, -1);
  lua_setglobal(L, "ngx");
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "loaded");
  lua_pushvalue(L, -3);
  lua_setfield(L, -2, "ngx");
  lua_pop(L, 2);
}

void open_all(lua_State* L) {
  create_ngx(L, 128);

  // Each finds the ngx table on the top and leaves it there.
  constexpr void (*kAreas[])(lua_State*) = {
      open_constants,   open_config,        open_log,        open_output,     open_control,
      open_sleep,       open_time,          open_string,     open_variable,   open_arg,
      open_request,     open_response,      open_subrequest, open_coroutine,  open_thread,
      open_timer,       open_phase,         open_socket_tcp, open_socket_udp, open_req_socket,
      open_shared_dict, open_worker_thread, open_worker,     open_process,    open_ndk,
      open_cjson,       open_upstream,
  };
  for (auto open : kAreas) open(L);
  lua_pop(L, 1);
}

}  // namespace moonphase::ngx
