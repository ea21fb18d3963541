-- A lock over a shared dictionary with the calls that examples/cache makes: new, lock, unlock.
local _M = {}
_M.__index = _M

function _M:new(dict_name, opts)
    local dict = ngx.shared[dict_name]
    if not dict then
        return nil, "dictionary not found"
    end
    return setmetatable({ dict = dict, timeout = opts and opts.timeout or 5 }, _M)
end

function _M:lock(key)
    local step, waited = 0.001, 0
    while true do
        local ok, err = self.dict:add(key, true, 30)
        if ok then
            self.key = key
            return waited
        end
        if err ~= "exists" then
            return nil, err
        end
        if waited >= self.timeout then
            return nil, "timeout"
        end
        step = math.min(step * 2, 0.1)
        ngx.sleep(step)
        waited = waited + step
    end
end

function _M:unlock()
    self.dict:delete(self.key)
    self.key = nil
    return 1
end

return _M
