-- ngx.proxyssl, which lua-resty-core has from 0.1.33 on.
local base = require "resty.core.base"
local ffi = require "ffi"

ffi.cdef [[
int ngx_http_lua_ffi_proxy_ssl_get_tls1_version(ngx_http_request_t *r, char **err);
]]

local get_request = base.get_request
local errmsg = base.get_errmsg_ptr()
local C = ffi.C

local names = {
  [0x0300] = "SSLv3",
  [0x0301] = "TLSv1",
  [0x0302] = "TLSv1.1",
  [0x0303] = "TLSv1.2",
  [0x0304] = "TLSv1.3",
}

local M = {
  version = base.version,
  SSL3_VERSION = 0x0300,
  TLS1_VERSION = 0x0301,
  TLS1_1_VERSION = 0x0302,
  TLS1_2_VERSION = 0x0303,
  TLS1_3_VERSION = 0x0304,
}

function M.get_tls1_version()
  local r = get_request()
  if not r then
    error("no request found")
  end
  local version = C.ngx_http_lua_ffi_proxy_ssl_get_tls1_version(r, errmsg)
  if version < 0 then
    return nil, ffi.string(errmsg[0])
  end
  return version
end

function M.get_tls1_version_str()
  local version, err = M.get_tls1_version()
  if not version then
    return nil, err
  end
  local name = names[version]
  if not name then
    return nil, "unknown version"
  end
  return name
end

return M
