-- ffi.load of a library that node has a copy of inside: its own symbols come first there. Node exports its copy's, and a
-- library that is not linked with -Bsymbolic would call these from within, with structures of another version.
local ffi = require "ffi"
local load = ffi.load

local inside = { z = true, ssl = true, crypto = true, uv = true, nghttp2 = true, cares = true }
local RTLD_LAZY, RTLD_DEEPBIND = 1, 8

ffi.cdef "void *dlopen(const char *file, int mode);"

-- Sanitizers refuse it.
local sanitized = pcall(function() return ffi.C.__asan_init end)

-- As LuaJIT makes it of the name that it is given.
local function file_of(name)
  if name:find("/", 1, true) then return name end
  if not name:find(".", 1, true) then name = name .. ".so" end
  return name:find("^lib") and name or "lib" .. name
end

function ffi.load(name, global)
  if type(name) == "string" and not global and not sanitized then
    local file = file_of(name)
    local base = file:match "lib([%w]+)%.so[^/]*$"
    -- Where it is not there, `load` says so.
    if base and (inside[base] or base:find "^brotli") then ffi.C.dlopen(file, RTLD_LAZY + RTLD_DEEPBIND) end
  end
  return load(name, global)
end
