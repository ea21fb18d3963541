local limit_count = require "resty.limit.count"
local refuse = require "refuse"

local limiter, err = limit_count.new("limit_count", 5, 60)
if not limiter then
    return refuse.broken("no count limit", err)
end

local delay, err = limiter:incoming(ngx.var.binary_remote_addr, true)
if not delay then
    if err == "rejected" then
        return refuse.too_many()
    end
    return refuse.broken("count limit failed", err)
end
ngx.header["X-RateLimit-Limit"] = "5"
ngx.header["X-RateLimit-Remaining"] = err
