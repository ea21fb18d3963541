-- Whether the server's certificate is good to which a request is passed on; lua-resty-core has it from 0.1.33 on.
local base = require "resty.core.base"
base.allows_subsystem("http")

local ffi = require "ffi"
local C = ffi.C
local errmsg = base.get_errmsg_ptr()
local get_phase = ngx.get_phase

ffi.cdef [[
int ngx_http_lua_ffi_proxy_ssl_set_verify_result(ngx_http_request_t *r, int verify_result, char **err);
int ngx_http_lua_ffi_proxy_ssl_get_verify_result(ngx_http_request_t *r, char **err);
void *ngx_http_lua_ffi_proxy_ssl_get_verify_cert(ngx_http_request_t *r, char **err);
void ngx_http_lua_ffi_proxy_ssl_free_verify_cert(void *cdata);
]]

local _M = { version = base.version }

local function request()
  local r = base.get_request()
  if not r then error("no request found", 3) end
  if get_phase() ~= "proxy_ssl_verify" then error("API disabled in the current context", 3) end
  return r
end

function _M.set_verify_result(code)
  if C.ngx_http_lua_ffi_proxy_ssl_set_verify_result(request(), code, errmsg) == base.FFI_OK then return true end
  return nil, ffi.string(errmsg[0])
end

function _M.get_verify_result()
  local code = C.ngx_http_lua_ffi_proxy_ssl_get_verify_result(request(), errmsg)
  if code == base.FFI_ERROR then return nil, ffi.string(errmsg[0]) end
  return code
end

function _M.get_verify_cert()
  local cert = C.ngx_http_lua_ffi_proxy_ssl_get_verify_cert(request(), errmsg)
  if cert == nil then return nil, ffi.string(errmsg[0]) end
  return ffi.gc(cert, C.ngx_http_lua_ffi_proxy_ssl_free_verify_cert)
end

return _M
