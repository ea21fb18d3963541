-- The subrequest of auth_request: 204 with the user's name, or 401.
local header = ngx.var.http_authorization
local user = require("tokens").user_of(header and header:match("^Bearer%s+(%S+)$"))
if not user then
  ngx.header["WWW-Authenticate"] = "Bearer"
  return ngx.exit(401)
end
ngx.header["X-User"] = user
ngx.status = 204
ngx.send_headers()
