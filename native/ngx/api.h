// The ngx.* functions: each area of the API has one file with one `open_…` that adds its C
// functions to the `ngx` table (on the stack's top) of a new VM. FFI functions that lua-resty-core
// declares are exported from the same file.
#pragma once

#include <lua.hpp>

#include <string>
#include <vector>

namespace moonphase::ngx {

void open_all(lua_State* L);  // creates `ngx` and `ndk`, calls all below, then loads resty.core
// The empty table `ngx`, as a global and a module; left on the stack.
void create_ngx(lua_State* L, int fields);

// What a VM of a worker thread has instead.
void open_for_worker_thread(lua_State* L);

void open_constants(lua_State* L);
void open_config(lua_State* L);  // ngx.config
void open_log(lua_State* L);
void open_output(lua_State* L);   // say, print, flush, eof, send_headers
void open_control(lua_State* L);  // exit (C part), exec, redirect, on_abort
void open_sleep(lua_State* L);
void open_time(lua_State* L);
void open_string(lua_State* L);  // what resty.core leaves to C: escape/quote/… crc…
void open_variable(lua_State* L);
void open_arg(lua_State* L);  // ngx.arg
void open_request(
    lua_State* L);  // ngx.req: read_body, get_body_data, set_body …, headers, args, uri
void open_response(lua_State* L);  // ngx.header, ngx.resp
void open_subrequest(lua_State* L);
void open_coroutine(lua_State* L);
void open_thread(lua_State* L);
void open_timer(lua_State* L);
void open_worker_thread(lua_State* L);  // ngx.run_worker_thread
void open_phase(lua_State* L);          // ngx._phase_ctx; get_phase and ngx.ctx for resty.core
void open_socket_tcp(lua_State* L);
void open_socket_udp(lua_State* L);
void open_req_socket(lua_State* L);  // ngx.req.socket
void open_shared_dict(lua_State* L);
void open_worker(lua_State* L);
void open_process(lua_State* L);
void open_ndk(lua_State* L);
void open_upstream(lua_State* L);  // package.preload ngx.upstream, moonphase.upstream.core
void open_cjson(lua_State* L);     // package.preload cjson, cjson.safe

// The command line that `ngx_argv` shows to FFI. Of the process.
void set_arguments(std::vector<std::string> list);

}  // namespace moonphase::ngx
