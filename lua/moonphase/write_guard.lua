-- Warns of globals that a request makes: every request sees them.
local log, WARN, get_phase = ngx.log, ngx.WARN, ngx.get_phase
local rawset, tostring, traceback = rawset, tostring, debug.traceback

local function newindex(globals, key, value)
  rawset(globals, key, value)

  local phase = get_phase()
  if phase == "init_worker" or phase == "init" then
    return
  end

  log(WARN, "writing a global Lua variable ('", tostring(key), "') which may lead to race conditions ",
      "between concurrent requests, so prefer the use of 'local' variables", traceback("", 2))
end

setmetatable(_G, { __newindex = newindex })
