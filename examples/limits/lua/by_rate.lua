local limit_req = require "resty.limit.req"
local refuse = require "refuse"

local limiter, err = limit_req.new("limit_rate", 2, 3)
if not limiter then
    return refuse.broken("no rate limit", err)
end

local delay, err = limiter:incoming(ngx.var.binary_remote_addr, true)
if not delay then
    if err == "rejected" then
        return refuse.too_many()
    end
    return refuse.broken("rate limit failed", err)
end

if delay >= 0.001 then
    ngx.sleep(delay)
end
