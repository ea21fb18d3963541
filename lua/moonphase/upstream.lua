-- Upstream groups at run time: what is changed here, all workers see at once. Groups of the configuration need a zone
-- (`zone` or `upstream_zone`); groups that are added live in that of `upstream_zone`.
local core = require "moonphase.upstream.core"

local type, ipairs, pairs, tostring, tonumber = type, ipairs, pairs, tostring, tonumber
local gmatch, match, gsub, lower = string.gmatch, string.match, string.gsub, string.lower

local _M = {}

local NUMBERS = { weight = true, max_fails = true, fail_timeout = true, max_conns = true }
local FLAGS = { backup = true, down = true }
local TEXTS = { address = true, server = true }
local SHOWN = { fails = true, conns = true }

-- A copy with everything checked, or nil and a sentence.
local function check_server(given, i)
  if type(given) == "string" then
    return { address = given }
  end
  if type(given) ~= "table" then
    return nil, "server " .. i .. " is a " .. type(given)
  end
  local server = {}
  for key, value in pairs(given) do
    local kind = NUMBERS[key] and "number" or FLAGS[key] and "boolean" or TEXTS[key] and "string"
    if kind then
      if type(value) ~= kind then
        return nil, key .. " of server " .. i .. " is a " .. type(value)
      end
      if kind == "number" and (value < 0 or value > 2147483647 or value % 1 ~= 0) then
        return nil, key .. " of server " .. i .. " is out of range"
      end
      server[key] = value
    elseif not SHOWN[key] then
      return nil, "server " .. i .. ' has an unknown field "' .. tostring(key) .. '"'
    end
  end
  if not server.address then
    return nil, "server " .. i .. " has no address"
  end
  return server
end

-- All groups: {{name, method, zone, added, servers = {{address, weight, …}}}}.
function _M.list()
  return core.list()
end

function _M.get(name)
  for _, group in ipairs(core.list()) do
    if lower(group.name) == lower(name) then
      return group
    end
  end
  return nil, "upstream not found"
end

-- Adds a group or replaces its servers. `servers`: addresses, or tables with `address` and what a `server` directive
-- takes. `options.method`: of a group that is added.
function _M.set(name, servers, options)
  if type(name) ~= "string" or not match(name, "^[^%s/;{}\"']+$") then
    return nil, "invalid name"
  end
  if type(servers) ~= "table" then
    return nil, "servers is a " .. type(servers)
  end
  local list = {}
  for i, given in ipairs(servers) do
    local server, err = check_server(given, i)
    if not server then
      return nil, err
    end
    list[i] = server
  end
  local method = options and options.method or "round_robin"
  if type(method) ~= "string" then
    return nil, "method is a " .. type(method)
  end
  return core.set(name, method, list)
end

function _M.remove(name)
  return core.remove(name)
end

-- One server more; one with the same address (and `backup`) is replaced.
local function edit(name, address, fn)
  local group, err = _M.get(name)
  if not group then
    return nil, err
  end
  local at
  for i, server in ipairs(group.servers) do
    if server.address == address then
      at = i
    end
  end
  local wrong = fn(group.servers, at)
  if wrong then
    return nil, wrong
  end
  return _M.set(name, group.servers, { method = group.method })
end

function _M.add_server(name, server)
  local checked, err = check_server(server, 1)
  if not checked then
    return nil, err
  end
  return edit(name, checked.address, function(servers, at)
    servers[at or #servers + 1] = checked
  end)
end

function _M.remove_server(name, address)
  return edit(name, address, function(servers, at)
    if not at then
      return "server not found"
    end
    table.remove(servers, at)
  end)
end

-- Changes of one server: set_server("backend", "10.0.0.1:80", { weight = 2, down = true })
function _M.set_server(name, address, changes)
  return edit(name, address, function(servers, at)
    if not at then
      return "server not found"
    end
    for key, value in pairs(changes) do
      servers[at][key] = value
    end
  end)
end

-- "server 10.0.0.1:80 weight=2 down; server 10.0.0.2:80;"
local function parse_directives(text)
  local servers = {}
  for statement in gmatch(text, "[^;]+") do
    local words = {}
    for word in gmatch(statement, "%S+") do
      words[#words + 1] = word
    end
    if #words > 0 then
      if words[1] ~= "server" or not words[2] then
        return nil, 'not a "server" directive: "' .. gsub(statement, "^%s+", "") .. '"'
      end
      local server = { address = words[2] }
      for i = 3, #words do
        local key, value = match(words[i], "^([%w_]+)=(%d+)s?$")
        if key and NUMBERS[key] then
          server[key] = tonumber(value)
        elseif FLAGS[words[i]] then
          server[words[i]] = true
        else
          return nil, 'invalid parameter "' .. words[i] .. '"'
        end
      end
      servers[#servers + 1] = server
    end
  end
  return servers
end

local function answer(status, value)
  ngx.status = status
  ngx.header["Content-Type"] = "application/json"
  ngx.say(require("cjson").encode(value))
end

local function body()
  ngx.req.read_body()
  local data = ngx.req.get_body_data()
  local file = not data and ngx.req.get_body_file()
  if file then
    local f = io.open(file, "rb")
    data = f and f:read "*a"
    if f then
      f:close()
    end
  end
  return data or ""
end

-- The content handler of `upstream_api`: GET lists all groups or, with a name behind the location's, one; PUT and POST
-- set its servers (JSON or "server" directives), DELETE removes it.
-- `location`: what stands before the name in the URI.
function _M.serve(location)
  local path = ngx.var.uri:sub(#location + 1)
  local name = match(path, "^/?([^/]+)/?$")
  local method = ngx.req.get_method()
  if method == "GET" or method == "HEAD" then
    if not name then
      local all = _M.list()
      return answer(200, #all > 0 and all or require("cjson").empty_array)
    end
    local group, err = _M.get(name)
    return answer(group and 200 or 404, group or { error = err })
  end
  if not name then
    return answer(404, { error = "no upstream named" })
  end
  local ok, err
  if method == "DELETE" then
    ok, err = _M.remove(name)
    return answer(ok and 200 or err == "upstream not found" and 404 or 409, ok and { removed = name } or { error = err })
  end
  if method ~= "PUT" and method ~= "POST" then
    ngx.header["Allow"] = "GET, PUT, POST, DELETE"
    return answer(405, { error = "method not allowed" })
  end
  local text = body()
  local servers, options
  if match(text, "^%s*[%[{]") then
    local value = require("cjson.safe").decode(text)
    if type(value) ~= "table" then
      return answer(400, { error = "invalid JSON" })
    end
    servers = value.servers or value
    options = value
  else
    servers, err = parse_directives(text)
    if not servers then
      return answer(400, { error = err })
    end
  end
  ok, err = _M.set(name, servers, options)
  return answer(ok and 200 or 400, ok and _M.get(name) or { error = err })
end

return _M
