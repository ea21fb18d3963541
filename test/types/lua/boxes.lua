---@alias Side "left"|"right"

---@class Box<K, V>
---@field items table<K, V>
local Box = {}

---@param key K
---@return V
function Box:get(key) return self.items[key] end

---@param key K
function Box:delete(key) self.items[key] = nil end

---@class Shape
---@field sides integer
---@field [string] string

---@class Style : Shape
---@field width number
---@field margins table<Side, number>
---@field next? Style
---@field [string] string

---@class Border
---@field size number
---@field [string] fun(a: number): string
local Border = {}

---@return boolean
function Border:thick() return self.size > 2 end

---@generic K, V
---@param map table<K, V>
---@return K
function Box.keys(map) return next(map) end

---@generic K, V
---@param map table<K, V>
---@param key K
---@return V
function Box.pick(map, key) return map[key] end

---@type Style
Box.style = nil

return Box
