-- Ready: no group is without a server that may be asked.
local upstream = require "moonphase.upstream"
for _, group in ipairs(upstream.list()) do
  local up = 0
  for _, server in ipairs(group.servers) do
    if not server.down then up = up + 1 end
  end
  if up == 0 then
    ngx.status = 503
    return ngx.say(group.name, " has no servers")
  end
end
ngx.say("ok")
