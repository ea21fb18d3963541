local cjson = require "cjson"

ngx.log(ngx.INFO, "REQUEST_LOG: ", cjson.encode({
    time = ngx.time(),
    method = ngx.var.request_method,
    uri = ngx.var.uri,
    request_uri = ngx.var.request_uri,
    status = ngx.status,
    request_time = tonumber(ngx.var.request_time),
    user_agent = ngx.var.http_user_agent,
    remote_addr = ngx.var.remote_addr,
    request_id = ngx.var.request_id,
}))
