-- The slow thing that the cache stands in front of. Counts how often it is asked.
local _M = {}

function _M.load(key)
    ngx.shared.pages:incr("loads:" .. key, 1, 0)
    ngx.sleep(0.1)
    return "page " .. key .. ", load " .. ngx.shared.pages:get("loads:" .. key)
end

return _M
