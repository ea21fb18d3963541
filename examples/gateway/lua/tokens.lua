-- Which token stands for whom. A real gateway asks a service or checks a signature here.
local users = { ["secret-of-ada"] = "ada", ["secret-of-bob"] = "bob" }

local _M = {}

function _M.user_of(token)
  return token and users[token]
end

return _M
