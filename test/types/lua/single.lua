---@param name string
---@return string
return function(name) return "hello " .. name end
