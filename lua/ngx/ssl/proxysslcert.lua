-- ngx.ssl.proxysslcert, which lua-resty-core has from 0.1.33 on.
local base = require "resty.core.base"
local ffi = require "ffi"

ffi.cdef [[
int ngx_http_lua_ffi_proxy_ssl_clear_certs(ngx_http_request_t *r, char **err);
int ngx_http_lua_ffi_proxy_ssl_set_der_certificate(ngx_http_request_t *r, const char *data,
  size_t len, char **err);
int ngx_http_lua_ffi_proxy_ssl_set_der_private_key(ngx_http_request_t *r, const char *data,
  size_t len, char **err);
int ngx_http_lua_ffi_proxy_ssl_set_cert(void *r, void *cdata, char **err);
int ngx_http_lua_ffi_proxy_ssl_set_priv_key(void *r, void *cdata, char **err);
]]

local get_request = base.get_request
local errmsg = base.get_errmsg_ptr()
local C = ffi.C

local function request()
  local r = get_request()
  if not r then
    error("no request found", 3)
  end
  return r
end

local function answer(rc)
  if rc == base.FFI_OK then
    return true
  end
  return nil, ffi.string(errmsg[0])
end

local M = { version = base.version }

function M.clear_certs()
  return answer(C.ngx_http_lua_ffi_proxy_ssl_clear_certs(request(), errmsg))
end

function M.set_der_cert(data)
  return answer(C.ngx_http_lua_ffi_proxy_ssl_set_der_certificate(request(), data, #data, errmsg))
end

function M.set_der_priv_key(data)
  return answer(C.ngx_http_lua_ffi_proxy_ssl_set_der_private_key(request(), data, #data, errmsg))
end

function M.set_cert(cert)
  return answer(C.ngx_http_lua_ffi_proxy_ssl_set_cert(request(), cert, errmsg))
end

function M.set_priv_key(key)
  return answer(C.ngx_http_lua_ffi_proxy_ssl_set_priv_key(request(), key, errmsg))
end

return M
