-- So many at a time, with the calls that examples/limits makes.
local _M = {}
_M.__index = _M

function _M.new(dict_name, max, burst, delay)
    local dict = ngx.shared[dict_name]
    if not dict then
        return nil, "shared dict not found"
    end
    return setmetatable({ dict = dict, max = max + burst, delay = delay }, _M)
end

function _M:incoming(key, commit)
    self.committed = false
    local count = self.dict:incr(key, 1, 0)
    if count > self.max or not commit then
        self.dict:incr(key, -1)
        if count > self.max then
            return nil, "rejected"
        end
        return 0, count
    end
    self.committed = true
    return 0, count
end

function _M:is_committed()
    return self.committed
end

function _M:leaving(key)
    return self.dict:incr(key, -1)
end

return _M
