-- So many calls per window, with the calls that examples/limits makes.
local _M = {}
_M.__index = _M

function _M.new(dict_name, limit, window)
    local dict = ngx.shared[dict_name]
    if not dict then
        return nil, "shared dict not found"
    end
    return setmetatable({ dict = dict, limit = limit, window = window }, _M)
end

function _M:incoming(key)
    local remaining, err = self.dict:incr(key, -1, self.limit, self.window)
    if not remaining then
        return nil, err
    end
    if remaining < 0 then
        return nil, "rejected"
    end
    return 0, remaining
end

return _M
