---@class Counter
---@field count number
local Counter = {}
Counter.__index = Counter

---@param by? number
---@return number
function Counter:add(by) self.count = self.count + (by or 1) return self.count end

---@param other Counter
---@return boolean
function Counter.same(self, other) return self == other end

---@param user User
---@param color Color
---@param missing NoSuchType
local function describe(user, color, missing) end

local function delete(key) end

return {
  --- Begins at 0.
  ---@return Counter
  new = function() return setmetatable({ count = 0 }, Counter) end,
  describe = describe,
  delete = delete,
}
