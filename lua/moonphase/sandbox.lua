-- LuaVM's option `sandbox`: what reaches files, processes, foreign memory or other code's insides is gone. What the
-- libraries loaded so far keep of it in their upvalues goes on working.
local loaded, preload = package.loaded, package.preload

local function only(library, names)
  local kept = {}
  for name in names:gmatch("%S+") do
    kept[name] = library[name]
  end
  return kept
end

os = only(os, "time date clock difftime")
debug = only(debug, "traceback")
jit = only(jit, "version version_num os arch")
local read = loadfile
io, dofile, loadfile, newproxy = nil, nil, nil, nil
string.dump = nil

local plain_load, type, select, error = load, type, select, error

-- Text only: bytecode is not checked by LuaJIT.
local function load_text(chunk, name, mode, ...)
  if mode ~= nil and not tostring(mode):find("t", 1, true) then
    error("a sandboxed VM loads text only", 2)
  end
  if select("#", ...) > 0 then
    return plain_load(chunk, name, "t", (...))
  end
  return plain_load(chunk, name, "t")
end

load = load_text
function loadstring(text, name)
  if type(text) ~= "string" then
    error("bad argument #1 to 'loadstring' (string expected)", 2)
  end
  return load_text(text, name)
end

-- Modules that hand out pointers or the above.
local kept = {}
for name in
  ([[_G string table math coroutine bit ngx cjson cjson.safe table.new table.clear table.nkeys
     table.clone table.isarray table.isempty ngx.re resty.lrucache]]):gmatch("%S+")
do
  kept[name] = true
end
for name in pairs(loaded) do
  if not kept[name] then
    loaded[name] = nil
  end
end
loaded.os, loaded.debug, loaded.jit = os, debug, jit
for name in pairs(preload) do
  if not kept[name] then
    preload[name] = nil
  end
end

-- The files of the package path, as text; nothing of package.cpath.
local path = package.path
local searchpath = package.searchpath
local function loader(name)
  local file, tried = searchpath(name, path)
  if not file then
    return tried
  end
  local chunk, problem = read(file, "t")
  if not chunk then
    error("error loading module '" .. name .. "' from file '" .. file .. "':\n\t" .. problem, 0)
  end
  return chunk
end
package.loaders = nil
package.loadlib, package.cpath, package.searchpath, package.seeall = nil, nil, nil, nil
package.config = nil
module = nil
local loading = {}
function require(name)
  if type(name) ~= "string" then
    error("bad argument #1 to 'require' (string expected)", 2)
  end
  local value = loaded[name]
  if value ~= nil then
    if value == loading then
      error("loop or previous error loading module '" .. name .. "'", 2)
    end
    return value
  end
  local load_module = preload[name] or loader(name)
  if type(load_module) ~= "function" then
    error("module '" .. name .. "' not found:" .. tostring(load_module or ""), 2)
  end
  loaded[name] = loading
  local ok, result = pcall(load_module, name)
  if not ok then
    loaded[name] = nil
    error(result, 2)
  end
  if result ~= nil then
    loaded[name] = result
  elseif loaded[name] == loading then
    loaded[name] = true
  end
  return loaded[name]
end

-- Threads of their own have VMs without a sandbox.
ngx.run_worker_thread = nil
