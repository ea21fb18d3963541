-- What a dictionary has beside lua-resty-core's methods and those in C (native/ngx/shared_dict_more.cc).
local shared = ngx.shared
local made = getmetatable(shared)
setmetatable(shared, nil)
local methods, make = made.methods, made.make
local watch, take, is_any, any_methods = methods.__watch, methods.__take, methods.__is_any, methods.__any
methods.__watch, methods.__take, methods.__is_any, methods.__any = nil, nil, nil, nil

-- Dictionaries of any values get methods of their own only now: lua-resty-core puts its methods into the metatable of
-- whichever dictionary comes first.
local any = { __index = setmetatable(any_methods, { __index = methods }) }
for _, dict in pairs(shared) do
  if is_any(dict) then
    setmetatable(dict, any)
  end
end

-- dict:subscribe(prefix, fn): fn(key, change) runs, in a timer's context, after each change of a key with that prefix,
-- whichever process made it.
local log, ERR = ngx.log, ngx.ERR
local xpcall, traceback, sub = xpcall, debug.traceback, string.sub
local type, error, ipairs, remove = type, error, ipairs, table.remove

-- by dictionary: its subscriptions and, from the first one on, what wakes us
local watched = setmetatable({}, { __mode = "k" })

local function tell(state, change, key)
  -- those that are there now: a function may subscribe others, or end itself
  local list = {}
  for i, s in ipairs(state.list) do
    list[i] = s
  end
  for _, s in ipairs(list) do
    if not s.ended and (not key or sub(key, 1, #s.prefix) == s.prefix) then
      local ok, err = xpcall(s.fn, traceback, key or nil, change)
      if not ok then
        log(ERR, "subscriber of a shared dictionary: ", err)
      end
    end
  end
end

function methods.subscribe(dict, prefix, fn)
  if type(prefix) ~= "string" then
    error('bad "prefix" argument: string expected', 2)
  end
  if type(fn) ~= "function" then
    error('bad "fn" argument: function expected', 2)
  end
  local state = watched[dict]
  if not state then
    state = { list = {} }
    local handle, err = watch(dict, function(premature)
      if premature then
        return
      end
      local news = take(state.handle)
      for i = 1, #news, 2 do
        tell(state, news[i], news[i + 1])
      end
    end)
    if not handle then
      return nil, err
    end
    state.handle = handle
    watched[dict] = state
  end
  local s = { prefix = prefix, fn = fn }
  state.list[#state.list + 1] = s
  return function()
    s.ended = true
    for i, other in ipairs(state.list) do
      if other == s then
        remove(state.list, i)
        return
      end
    end
  end
end

-- require("moonphase.shared").create(name, size, { exact = true, values = "any" }): a dictionary that the configuration
-- does not have, as ngx.shared[name]; the same one in all processes of the server that create it.
local created = {}

local function create(name, size, options)
  if type(name) ~= "string" or name == "" then
    error('bad "name" argument: string expected', 2)
  end
  options = options or {}
  if type(options) ~= "table" then
    error('bad "options" argument: table expected', 2)
  end
  for option, value in pairs(options) do
    if not (option == "exact" and type(value) == "boolean" or option == "values" and (value == "any" or value == "plain")) then
      error('bad option "' .. tostring(option) .. '"', 2)
    end
  end
  if shared[name] and not created[name] then
    return nil, "the configuration has a dictionary of this name"
  end
  if type(size) ~= "number" and type(size) ~= "string" then
    error('bad "size" argument: number or string expected', 2)
  end
  local dict, err = make(name, size, options.exact or false, options.values == "any")
  if not dict then
    return nil, err
  end
  if created[name] then
    return shared[name]
  end
  created[name] = true
  shared[name] = dict
  if not methods.get then
    -- lua-resty-core gives its methods to the dictionaries that it finds when it is loaded
    package.loaded["resty.core.shdict"] = nil
    require "resty.core.shdict"
  end
  if is_any(dict) then
    setmetatable(dict, any)
  end
  return dict
end

package.loaded["moonphase.shared"] = { create = create }
