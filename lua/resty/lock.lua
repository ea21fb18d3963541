-- Locks among all workers, in a shared dictionary: the interface of lua-resty-lock (new, lock, unlock, expire), which a
-- user's own copy replaces. A lock that was forgotten ends when its object is collected or its time is over.
local ffi = require "ffi"
local shared, sleep = ngx.shared, ngx.sleep
local min, pcall, setmetatable, tonumber = math.min, pcall, setmetatable, tonumber

local LOCKED = true
local lock = { _VERSION = "0.09" }
local methods = { __index = lock }

-- What a collected object still holds is found by the number in its cdata.
local held, free = {}, {}
local Sentinel = ffi.metatype("struct { int slot; }", {
  __gc = function(sentinel)
    local slot = sentinel.slot
    local left = held[slot]
    if left then
      held[slot] = false
      free[#free + 1] = slot
      pcall(left.dict.delete, left.dict, left.key) -- the VM may be closing
    end
  end,
})

local function hold(self, key)
  local slot = free[#free] or #held + 1
  free[#free] = nil
  held[slot] = { dict = self.dict, key = key }
  self.key = key
  self.sentinel.slot = slot
end

local function let_go(self)
  local slot = self.sentinel.slot
  held[slot] = false
  free[#free + 1] = slot
  self.sentinel.slot = 0
  self.key = nil
end

local function positive(value, otherwise)
  value = tonumber(value)
  if value and value > 0 then
    return value
  end
  return otherwise
end

function lock.new(_, name, options)
  local dict = shared[name]
  if not dict then
    return nil, "dictionary not found"
  end
  options = options or {}
  local expires = positive(options.exptime, 30)
  local timeout = tonumber(options.timeout) or 5
  return setmetatable({
    dict = dict,
    sentinel = Sentinel(0),
    exptime = expires,
    timeout = min(timeout, expires),
    step = positive(options.step, 0.001),
    ratio = positive(options.ratio, 2),
    max_step = positive(options.max_step, 0.5),
  }, methods)
end

-- The seconds that it took.
function lock:lock(key)
  if not key then
    return nil, "nil key"
  end
  if self.key then
    return nil, "locked"
  end
  local dict, exptime = self.dict, self.exptime
  local ok, err = dict:add(key, LOCKED, exptime)
  local waited, step, left = 0, self.step, self.timeout
  while not ok do
    if err ~= "exists" then
      return nil, err
    end
    if left <= 0 then
      return nil, "timeout"
    end
    step = min(step, left, self.max_step)
    sleep(step)
    waited, left = waited + step, left - step
    ok, err = dict:add(key, LOCKED, exptime)
    step = step * self.ratio
  end
  hold(self, key)
  return waited
end

function lock:unlock()
  local key = self.key
  if not key then
    return nil, "unlocked"
  end
  local ok, err = self.dict:delete(key)
  let_go(self)
  if not ok then
    return nil, err
  end
  return 1
end

-- The lock's time begins anew.
function lock:expire(time)
  local key = self.key
  if not key then
    return nil, "unlocked"
  end
  local ok, err = self.dict:replace(key, LOCKED, positive(time, self.exptime))
  if not ok then
    let_go(self)
    return nil, err
  end
  return true
end

return lock
