-- What ngx.resp has not before lua-resty-core 0.1.33.
local resp = require "ngx.resp"
local get_request = require("resty.core.base").get_request
local ffi = require "ffi"
local C = ffi.C

if resp.bypass_if_checks then
  return
end

ffi.cdef [[
int ngx_http_lua_ffi_bypass_if_checks(ngx_http_request_t *r);
]]

function resp.bypass_if_checks()
  local r = get_request()
  if not r then
    error("no request found")
  end
  C.ngx_http_lua_ffi_bypass_if_checks(r)
end
