local limit_conn = require "resty.limit.conn"
local refuse = require "refuse"

local limiter, err = limit_conn.new("limit_conn", 1, 0, 0.5)
if not limiter then
    return refuse.broken("no connection limit", err)
end

local key = ngx.var.binary_remote_addr
local delay, err = limiter:incoming(key, true)
if not delay then
    if err == "rejected" then
        return refuse.too_many()
    end
    return refuse.broken("connection limit failed", err)
end
if limiter:is_committed() then
    ngx.ctx.limiter = limiter
    ngx.ctx.limit_key = key
end
