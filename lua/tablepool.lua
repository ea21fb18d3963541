-- Tables for short use, kept by name and handed out again: the interface of lua-tablepool (fetch, release), which a user's
-- own copy replaces. A pool keeps 200 tables at most; what is released beyond that is garbage.
local clear = require "table.clear"
local new = require "table.new"
local error, setmetatable = error, setmetatable

local MOST = 200
local tables, counts = {}, {}
local tablepool = { _VERSION = "0.02" }

--- A table of the pool `name`; where it has none, a new one with room for `narr` values and `nrec` fields.
function tablepool.fetch(name, narr, nrec)
  local count = counts[name]
  if not count or count == 0 then return new(narr, nrec) end
  local pool = tables[name]
  local found = pool[count]
  pool[count] = false
  counts[name] = count - 1
  return found
end

--- Gives `tb` to the pool `name`, emptied and without a metatable unless `keep` is true. Nobody may use it after.
function tablepool.release(name, tb, keep)
  if not tb then error("object empty", 2) end
  local pool, count = tables[name], counts[name]
  if not pool then
    pool, count = new(4, 0), 0
    tables[name] = pool
  end
  if not keep then
    -- clear() leaves the metatable.
    setmetatable(tb, nil)
    clear(tb)
  end
  if count == MOST then return end
  count = count + 1
  pool[count] = tb
  counts[name] = count
end

return tablepool
