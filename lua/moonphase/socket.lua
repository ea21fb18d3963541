-- What cosockets have not before lua-resty-core 0.1.33.
local registry = debug.getregistry()
local tcp = registry.__tcp_cosocket_mt

for _, name in ipairs { "__tcp_req_cosocket_mt", "__tcp_raw_req_cosocket_mt" } do
  local mt = registry[name]
  mt.getoption = mt.getoption or tcp.getoption
  mt.setoption = mt.setoption or tcp.setoption
end
