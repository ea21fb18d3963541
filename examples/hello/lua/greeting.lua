local greeting = {}

function greeting.to(name)
  if not name or name == '' then
    return 'Hello, whoever you are.'
  end
  return 'Hello, ' .. name .. '!'
end

return greeting
