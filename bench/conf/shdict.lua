-- What bench/shdict.mjs runs in every worker of both servers. A run is ordered through the dictionary `control`; all
-- workers begin at the same moment, work for some milliseconds, and push what they did.
local ffi = require "ffi"
ffi.cdef [[
struct bench_timespec { long sec, nsec; };
int clock_gettime(int clock, struct bench_timespec *at);
]]
local at = ffi.new("struct bench_timespec")
local function clock(which)
  ffi.C.clock_gettime(which, at)
  return tonumber(at.sec) + tonumber(at.nsec) / 1e9
end
local REALTIME, CPU = 0, 2

local control, box = ngx.shared.control, ngx.shared.box
local keys = {}
for i = 1, 1000 do
  keys[i] = "key:" .. i
end

local work = {
  get = function()
    for i = 1, 1000 do
      box:get(keys[i])
    end
    return 1000
  end,
  set = function()
    for i = 1, 1000 do
      box:set(keys[i], i)
    end
    return 1000
  end,
  incr = function()
    for i = 1, 1000 do
      box:incr(keys[i], 1, 0)
    end
    return 1000
  end,
}
function work.mixed()
  return work.get() + work.set() + work.incr()
end

local done = 0
local function turn()
  local run = control:get("run")
  if not run or run == done then
    return
  end
  done = run
  local fn, begin, ms = work[control:get("op")], control:get("begin"), control:get("ms")
  repeat
    fn()
  until clock(REALTIME) >= begin
  local wall, cpu, count = clock(REALTIME), clock(CPU), 0
  repeat
    count = count + fn()
  until clock(REALTIME) >= wall + ms / 1000
  control:rpush("results", string.format("%d %.6f %.6f", count, clock(CPU) - cpu, clock(REALTIME) - wall))
end

local bench = {}

function bench.init_worker()
  assert(ngx.timer.every(0.005, turn))
end

function bench.start()
  local a = ngx.req.get_uri_args()
  control:delete("results")
  box:flush_all()
  box:flush_expired()
  for i = 1, 1000 do
    box:set(keys[i], i)
  end
  control:set("op", a.op)
  control:set("ms", tonumber(a.ms))
  control:set("begin", clock(REALTIME) + 0.2)
  control:incr("run", 1, 0)
  ngx.say("ok")
end

function bench.results()
  if control:llen("results") < tonumber(ngx.var.arg_workers) then
    return ngx.exit(404)
  end
  while control:llen("results") > 0 do
    ngx.say(control:lpop("results"))
  end
end

-- How many small entries a dictionary of a megabyte holds.
function bench.entries()
  local full = ngx.shared.megabyte
  local n = 0
  repeat
    n = n + 1
  until not full:safe_set("key:" .. n, n)
  ngx.say(n - 1)
end

return bench
