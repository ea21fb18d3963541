-- What a handler in JavaScript may do to its request, by the names that lib/phases/request.ts calls. The second result
-- true: a table goes as it is, not as a copy.
local log = ...
local ngx = ngx
local req, resp_header, var = ngx.req, ngx.header, ngx.var

local api = {
  log = log,
  say = ngx.say,
  print = ngx.print,
  eof = ngx.eof,
  flush = ngx.flush,
  send_headers = ngx.send_headers,
  sleep = ngx.sleep,
  phase = ngx.get_phase,
  method = req.get_method,
  uri_args = req.get_uri_args,
  post_args = req.get_post_args,
  set_uri_args = req.set_uri_args,
  headers = req.get_headers,
  set_header = req.set_header,
  clear_header = req.clear_header,
  raw_header = req.raw_header,
  http_version = req.http_version,
  is_internal = req.is_internal,
  start_time = req.start_time,
  read_body = req.read_body,
  discard_body = req.discard_body,
  body_data = req.get_body_data,
  body_file = req.get_body_file,
  set_body_data = req.set_body_data,
}

function api.ctx()
  return ngx.ctx, true
end

function api.set_ctx(value)
  ngx.ctx = value
end

function api.status()
  return ngx.status
end

function api.set_status(value)
  ngx.status = value
end

function api.headers_sent()
  return ngx.headers_sent
end

function api.is_subrequest()
  return ngx.is_subrequest
end

function api.request_header(name)
  return req.get_headers(0)[name]
end

function api.header(name)
  return resp_header[name]
end

function api.set_response_header(name, value)
  resp_header[name] = value
end

function api.response_headers()
  return (ngx.resp.get_headers(0))
end

function api.var(name)
  return var[name]
end

function api.set_var(name, value)
  var[name] = value
end

function api.arg(index)
  return ngx.arg[index]
end

function api.set_arg(index, value)
  ngx.arg[index] = value
end

local methods = {}
for name, value in pairs(ngx) do
  local method = type(name) == "string" and name:match("^HTTP_(%u+)$")
  if method and type(value) == "number" then
    methods[method] = value
  end
end

local function method_of(name)
  local id = methods[name]
  if not id then
    error('unknown method "' .. tostring(name) .. '"', 0)
  end
  return id
end

function api.set_method(name)
  req.set_method(method_of(name))
end

function api.set_uri(uri)
  req.set_uri(uri)
end

local function capture_options(options)
  if options and options.method then
    options.method = method_of(options.method)
  end
  return options
end

local function answer(res)
  return { status = res.status, headers = res.header, body = res.body, truncated = res.truncated }
end

function api.capture(uri, options)
  return answer(ngx.location.capture(uri, capture_options(options)))
end

function api.capture_multi(list)
  for _, one in ipairs(list) do
    capture_options(one[2])
  end
  local results = { ngx.location.capture_multi(list) }
  for i, res in ipairs(results) do
    results[i] = answer(res)
  end
  return results
end

return api
