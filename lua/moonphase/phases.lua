-- Phases that lua-resty-core before 0.1.33 does not know: ngx.get_phase() raised an error there.
local base = require "resty.core.base"
local C = require("ffi").C

local get_request = base.get_request
local get_phase = ngx.get_phase
local errmsg = base.get_errmsg_ptr()

local names = {
  [0] = "init", -- with lua_phase_capabilities extended it has a request
  [0x10000] = "proxy_ssl_verify",
  [0x20000] = "precontent",
  [0x40000] = "proxy_ssl_cert",
}

function ngx.get_phase()
  local r = get_request()
  return r and names[C.ngx_http_lua_ffi_get_phase(r, errmsg)] or get_phase()
end
