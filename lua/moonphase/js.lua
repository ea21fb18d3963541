-- require "js": JavaScript's objects for Lua code. `call`, `wait` and `copy` run a function of lib/js.ts: `wait`
-- until the promise that it returns has settled, `copy` gives a table.
local call, wait, copy, meta = ...
local error, select, type, setmetatable, rawequal = error, select, type, setmetatable, rawequal
local js = { null = ngx.null }

local function check(ok, value)
  if ok then
    return value
  end
  return error(value, 3)
end

-- Methods know whose they are, so that both `object:name()` and `object.name()` call them on it.
local owners = setmetatable({}, { __mode = "k" })

function meta.__index(self, key)
  local value = check(call("get", self, key))
  if type(value) == "userdata" and check(call("isFunction", value)) then
    owners[value] = self
  end
  return value
end

function meta.__newindex(self, key, value)
  check(call("set", self, key, value))
end

function meta.__call(self, ...)
  local owner = owners[self]
  local value
  if owner == nil then
    value = check(call("apply", self, nil, ...))
  elseif select("#", ...) > 0 and rawequal((...), owner) then
    value = check(call("apply", self, ...))
  else
    value = check(call("apply", self, owner, ...))
  end
  return value
end

function meta.__tostring(self)
  return (check(call("text", self)))
end

function meta.__len(self)
  return (check(call("length", self)))
end

function meta.__eq(a, b)
  return (check(call("same", a, b)))
end

meta.__metatable = "js"
js.global = check(call("global"))

-- A package, a built-in module or a file below the prefix; waits.
function js.import(name)
  if type(name) ~= "string" then
    error("bad argument #1 to 'import' (string expected, got " .. type(name) .. ")", 2)
  end
  local value = check(wait("import", name, ngx.config.prefix()))
  return value
end

function js.new(constructor, ...)
  local value = check(call("construct", constructor, ...))
  return value
end

-- Calls a function with a `this`.
function js.call(fn, this, ...)
  local value = check(call("apply", fn, this, ...))
  return value
end

-- What a promise resolves to; waits. What is no promise is what it is.
function js.await(promise)
  local value = check(wait("await", promise))
  return value
end

-- for x in js.iter(object) do: of anything that JavaScript's `for` or `for await` takes. undefined and null are js.null.
function js.iter(object)
  local iterator = check(call("iterator", object))
  return function()
    local item = check(wait("next", iterator))
    if item == false then
      return nil
    end
    local value = check(call("get", item, "value"))
    if value == nil then
      return js.null
    end
    return value
  end
end

-- for key, value in js.pairs(object) do: its own properties.
function js.pairs(object)
  local keys = check(copy("keys", object))
  local i = 0
  return function()
    i = i + 1
    local key = keys[i]
    if key ~= nil then
      return key, object[key]
    end
  end
end

-- A copy as a table.
function js.tolua(object)
  local value = check(copy("copy", object))
  return value
end

function js.typeof(value)
  return (check(call("typeof", value)))
end

function js.instanceof(value, constructor)
  return (check(call("instanceOf", value, constructor)))
end

return js
