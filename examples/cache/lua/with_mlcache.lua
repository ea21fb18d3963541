local mlcache = require "resty.mlcache"
local origin = require "origin"

local cache = assert(mlcache.new("pages", "mlcache", { lru_size = 200, ttl = 10, neg_ttl = 1, shm_locks = "locks" }))

local levels = { "l1", "l2", "origin" }

local _M = {}

function _M.get(key)
    local value, err, level = cache:get(key, nil, origin.load, key)
    if err then
        ngx.log(ngx.ERR, "mlcache: ", err)
        return ngx.exit(500)
    end
    return value, levels[level]
end

return _M
