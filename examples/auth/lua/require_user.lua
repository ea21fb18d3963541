local answer = ngx.location.capture("/auth")
if answer.status ~= 200 then
    ngx.status = 401
    ngx.header.content_type = "application/json"
    ngx.say('{"error":"Unauthorized"}')
    return ngx.exit(401)
end
ngx.ctx.user = answer.header["X-User"]
