-- Gives back the place that by_connections.lua has taken.
local _M = {}

function _M.connection()
    local limiter = ngx.ctx.limiter
    if not limiter then
        return
    end
    local count, err = limiter:leaving(ngx.ctx.limit_key, tonumber(ngx.var.request_time))
    if not count then
        ngx.log(ngx.ERR, "connection limit: leaving failed: ", err)
    end
end

return _M
