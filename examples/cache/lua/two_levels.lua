local lrucache = require "resty.lrucache"
local resty_lock = require "resty.lock"
local origin = require "origin"

local _M = {}

local L1_TTL, L2_TTL = 1, 10
local l1 = assert(lrucache.new(200))
local l2 = ngx.shared.pages

-- The value, and where it came from: "l1", "l2" or "origin".
function _M.get(key)
    local value = l1:get(key)
    if value then
        return value, "l1"
    end

    value = l2:get(key)
    if value then
        l1:set(key, value, L1_TTL)
        return value, "l2"
    end

    local lock = assert(resty_lock:new("locks", { timeout = 5 }))
    local waited, err = lock:lock("page:" .. key)
    if not waited then
        ngx.log(ngx.ERR, "no lock for ", key, ": ", err)
        return origin.load(key), "origin"
    end

    -- Somebody may have loaded it while we waited.
    local level = "l2"
    value = l2:get(key)
    if not value then
        level = "origin"
        value = origin.load(key)
        l2:set(key, value, L2_TTL)
    end
    l1:set(key, value, L1_TTL)
    lock:unlock()
    return value, level
end

return _M
