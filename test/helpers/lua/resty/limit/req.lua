-- A leaky bucket kept as a C struct in a shared dictionary, with the calls that examples/limits makes.
local ffi = require "ffi"

ffi.cdef [[
    typedef struct { double excess; double last; } standin_limit_req_t;
]]
local state_t = ffi.typeof("standin_limit_req_t")
local state_ptr = ffi.typeof("const standin_limit_req_t *")
local size = ffi.sizeof(state_t)

local _M = {}
_M.__index = _M

function _M.new(dict_name, rate, burst)
    local dict = ngx.shared[dict_name]
    if not dict then
        return nil, "shared dict not found"
    end
    return setmetatable({ dict = dict, rate = rate, burst = burst }, _M)
end

function _M:incoming(key, commit)
    local now = ngx.now()
    local excess = 0
    local text = self.dict:get(key)
    if text then
        local state = ffi.cast(state_ptr, text)
        excess = math.max(state.excess - self.rate * (now - state.last) + 1, 0)
        if excess > self.burst then
            return nil, "rejected"
        end
    end
    if commit then
        local state = state_t()
        state.excess, state.last = excess, now
        self.dict:set(key, ffi.string(state, size))
    end
    return excess / self.rate, excess
end

return _M
