-- What cosockets have not before lua-resty-core 0.1.33.
local registry = debug.getregistry()
local tcp = registry.__tcp_cosocket_mt

for _, name in ipairs { "__tcp_req_cosocket_mt", "__tcp_raw_req_cosocket_mt" } do
  local mt = registry[name]
  mt.getoption = mt.getoption or tcp.getoption
  mt.setoption = mt.setoption or tcp.setoption
end

if tcp.getsslsession then
  return
end

local ffi = require "ffi"
local base = require "resty.core.base"
local C = ffi.C
local get_request = base.get_request
local errmsg = base.get_errmsg_ptr()
local pointer = ffi.new("void *[1]")

ffi.cdef [[
typedef struct ngx_http_lua_socket_tcp_upstream_s ngx_http_lua_socket_tcp_upstream_t;
int ngx_http_lua_socket_tcp_get_ssl_session(ngx_http_request_t *r,
    ngx_http_lua_socket_tcp_upstream_t *u, void **sess, char **errmsg);
int ngx_http_lua_ffi_socket_tcp_get_ssl_pointer(ngx_http_request_t *r,
    ngx_http_lua_socket_tcp_upstream_t *u, void **pssl, char **errmsg);
int ngx_http_lua_ffi_socket_tcp_get_ssl_ctx(ngx_http_request_t *r,
    ngx_http_lua_socket_tcp_upstream_t *u, void **pctx, char **errmsg);
int ngx_http_lua_ffi_socket_tcp_settrustedstore(ngx_http_request_t *r,
    ngx_http_lua_socket_tcp_upstream_t *u, void *store, char **errmsg);
]]

local function connection(sock)
  local r = get_request() or error("no request found", 3)
  return r, sock[1] or error("socket is never created nor connected", 3)
end

local function getter(fetch, owned)
  return function (sock)
    local r, u = connection(sock)
    if fetch(r, u, pointer, errmsg) ~= base.FFI_OK then
      return nil, ffi.string(errmsg[0])
    end
    return owned and ffi.gc(pointer[0], C.ngx_http_lua_ffi_ssl_free_session) or pointer[0]
  end
end

tcp.getsslsession = getter(C.ngx_http_lua_socket_tcp_get_ssl_session, true)
tcp.getsslpointer = getter(C.ngx_http_lua_ffi_socket_tcp_get_ssl_pointer)
tcp.getsslctx = getter(C.ngx_http_lua_ffi_socket_tcp_get_ssl_ctx)

function tcp.settrustedstore(sock, store)
  if store ~= nil and type(store) ~= "cdata" then
    return nil, "bad store arg: cdata expected, got " .. type(store)
  end
  local r, u = connection(sock)
  if C.ngx_http_lua_ffi_socket_tcp_settrustedstore(r, u, store or nil, errmsg) ~= base.FFI_OK then
    return nil, ffi.string(errmsg[0])
  end
  sock[10] = store
  return true
end
