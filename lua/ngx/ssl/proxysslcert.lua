-- The certificate that the server sees to which a request is passed on; lua-resty-core has it from 0.1.33 on.
local base = require "resty.core.base"
base.allows_subsystem("http")

local ffi = require "ffi"
local C = ffi.C
local errmsg = base.get_errmsg_ptr()

ffi.cdef [[
int ngx_http_lua_ffi_proxy_ssl_clear_certs(ngx_http_request_t *r, char **err);
int ngx_http_lua_ffi_proxy_ssl_set_der_certificate(ngx_http_request_t *r, const char *data, size_t len, char **err);
int ngx_http_lua_ffi_proxy_ssl_set_der_private_key(ngx_http_request_t *r, const char *data, size_t len, char **err);
int ngx_http_lua_ffi_proxy_ssl_set_cert(void *r, void *cdata, char **err);
int ngx_http_lua_ffi_proxy_ssl_set_priv_key(void *r, void *cdata, char **err);
]]

local _M = { version = base.version }

local function request()
  local r = base.get_request()
  if not r then error("no request found", 3) end
  return r
end

local function outcome(rc)
  if rc == base.FFI_OK then return true end
  return nil, ffi.string(errmsg[0])
end

function _M.clear_certs()
  return outcome(C.ngx_http_lua_ffi_proxy_ssl_clear_certs(request(), errmsg))
end

function _M.set_der_cert(data)
  return outcome(C.ngx_http_lua_ffi_proxy_ssl_set_der_certificate(request(), data, #data, errmsg))
end

function _M.set_der_priv_key(data)
  return outcome(C.ngx_http_lua_ffi_proxy_ssl_set_der_private_key(request(), data, #data, errmsg))
end

function _M.set_cert(cert)
  return outcome(C.ngx_http_lua_ffi_proxy_ssl_set_cert(request(), cert, errmsg))
end

function _M.set_priv_key(key)
  return outcome(C.ngx_http_lua_ffi_proxy_ssl_set_priv_key(request(), key, errmsg))
end

return _M
