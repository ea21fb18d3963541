--- The application.
---@class app.Module
local M = {}

--- Who is asked for.
---@class User
---@field id integer its number
---@field name string
---@field mail? string
---@field tags string[]
---@field private secret string
---@field ["odd-name"] boolean
---@field [string] unknown

---@alias Level
---| "low" # little
---| "high"

---@alias Callback<T> fun(value: T, err?: string): boolean

---@enum Color
M.colors = { RED = 1, GREEN = 2 }

--- Looks somebody up.
---@async
---@param id integer the number
---@param options? { deep: boolean, level?: Level }
---@return User|nil user who was found
---@return string? err why not
function M.user(id, options)
  if id then return nil, "no" elseif options then return nil end
end

---@param ... string
---@return table<string, User>
function M.users(...) for i = 1, 2 do local x = i end return {} end

---@generic T
---@param list T[]
---@param fn fun(item: T): boolean
---@return T?
function M.find(list, fn) end

---@param key string
---@return string
---@overload fun(key: integer): number
function M.get(key) return key end

function M.plain(a, b, ...) return a end

---@param a? string
---@param b number
function M.middle(a, b) end

---@return Counter
function M.new() end

M.version = "1.0"
M.limit = 10
M.big = 10LL
---@type table<integer, Level>
M.levels = {}

return M
