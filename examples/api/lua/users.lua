-- GET /users/ID: the JSON text that redis has under user:ID.
local cjson = require "cjson"
local redis = require "resty.redis"

local host = os.getenv("REDIS_HOST") or "127.0.0.1"
local port = tonumber(os.getenv("REDIS_PORT")) or 6379

local _M = {}

local function fail(status, message)
    ngx.status = status
    ngx.say(cjson.encode({ error = message }))
    return ngx.exit(status)
end

function _M.show(id)
    local red = redis:new()
    red:set_timeout(1000)

    local ok, err = red:connect(host, port)
    if not ok then
        ngx.log(ngx.ERR, "failed to connect to redis: ", err)
        return fail(500, "storage is not available")
    end

    local text, err = red:get("user:" .. id)
    if not text then
        ngx.log(ngx.ERR, "failed to get user ", id, ": ", err)
        return fail(500, "storage does not answer")
    end
    red:set_keepalive(10000, 32)

    if text == ngx.null then
        return fail(404, "user not found")
    end

    ngx.header.content_type = "application/json"
    local user = cjson.decode(text)
    user.id = tonumber(id)
    ngx.say(cjson.encode(user))
end

return _M
