local users = { ["token-of-ann"] = "ann", ["token-of-bob"] = "bob" }

local token = (ngx.var.http_authorization or ""):match("^Bearer (.+)$")
local user = token and users[token]
if not user then
    return ngx.exit(401)
end
ngx.header["X-User"] = user
ngx.say("welcome")
