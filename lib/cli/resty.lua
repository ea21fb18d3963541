-- Runs Lua code on the command line's behalf: what goes to the client in a server goes to standard output here.
-- Argument: { chunks = { { name, source } … }, modules = { … }, arg = { … }, script, jit, exit = function(code) }
local spec = ...
local stdout, stderr = io.stdout, io.stderr
local type, tostring, select, ipairs, error, require = type, tostring, select, ipairs, error, require
local insert, concat = table.insert, table.concat
local null = ngx.null

ngx.config.is_console = true

local function add(parts, value, level)
  local kind = type(value)
  if kind == 'string' then
    insert(parts, value)
  elseif kind == 'table' then
    for i = 1, #value do
      add(parts, value[i], level + 1)
    end
  elseif value == null then
    insert(parts, 'null')
  elseif kind == 'nil' or kind == 'number' or kind == 'boolean' or kind == 'cdata' then
    insert(parts, tostring(value))
  else
    error('bad data type ' .. kind .. ' found', level + 3)
  end
end

local function write(newline, ...)
  local parts = {}
  for i = 1, select('#', ...) do
    add(parts, (select(i, ...)), 0)
  end
  if newline then
    insert(parts, '\n')
  end
  local ok, err = stdout:write(concat(parts))
  if not ok then
    return nil, err
  end
  return 1
end

function ngx.say(...) return write(true, ...) end
function ngx.print(...) return write(false, ...) end
rawset(_G, 'print', function(...)
  local parts = {}
  for i = 1, select('#', ...) do
    parts[i] = tostring((select(i, ...)))
  end
  stdout:write(concat(parts, '\t'), '\n')
end)
function ngx.eof() return 1 end
function ngx.flush()
  stdout:flush()
  return 1
end

local exit = spec.exit
function os.exit(code)
  if code == nil or code == true then
    code = 0
  elseif code == false then
    code = 1
  end
  stdout:flush()
  stderr:flush()
  exit(code)
end

local arg = { [0] = spec.script }
for i, value in ipairs(spec.arg) do
  arg[i] = value
end
rawset(_G, 'arg', arg) -- lua-resty-core warns of new global variables, but this one is meant

if spec.jit == 'off' then
  jit.off()
elseif spec.jit == 'dump' then
  require('jit.dump').on(nil, nil)
elseif spec.jit == 'v' then
  require('jit.v').on(nil)
end

local unpack = table.unpack or unpack
for _, name in ipairs(spec.modules) do
  require(name)
end
for _, chunk in ipairs(spec.chunks) do
  local fn, err = loadstring(chunk[2], chunk[1])
  if not fn then
    error(err, 0)
  end
  fn(unpack(spec.arg))
end
stdout:flush()
