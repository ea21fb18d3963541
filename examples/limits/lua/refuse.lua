-- What every limit answers.
local _M = {}

function _M.too_many()
    ngx.status = 429
    ngx.header.content_type = "application/json"
    ngx.say('{"error":"Too Many Requests"}')
    return ngx.exit(429)
end

function _M.broken(what, err)
    ngx.log(ngx.ERR, what, ": ", err)
    return ngx.exit(500)
end

return _M
