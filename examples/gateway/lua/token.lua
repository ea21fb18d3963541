-- Lets a WebSocket through whose token is known.
local user = require("tokens").user_of(ngx.var.arg_token)
if not user then return ngx.exit(403) end
ngx.var.user = user
