// Four workers on one dictionary, in the ways in which OpenResty's libraries use it.
import t from 'tap';
import { Server, sleep } from '../helpers/server.js';

const patterns = `
local lock, cjson = require "resty.lock", require "cjson.safe"
local d = ngx.shared.d
local P = {}

-- read, wait, write: only a lock among workers keeps what the others have added
function P.lock()
  for _ = 1, 25 do
    local l = assert(lock:new("locks", { timeout = 20, exptime = 20 }))
    assert(l:lock("k"))
    local n = d:get("locked") or 0
    ngx.sleep(0)
    d:set("locked", n + 1)
    assert(l:unlock())
  end
end

-- a bucket of tokens whose state is one value (lua-resty-limit-rate)
function P.bucket()
  for _ = 1, 30 do
    local l = assert(lock:new("locks", { timeout = 20, exptime = 20 }))
    assert(l:lock("bucket"))
    local left = d:get("bucket") or 40
    if left > 0 then
      assert(d:set("bucket", left - 1, 100))
      d:incr("taken", 1, 0)
    end
    assert(l:unlock())
  end
end

-- events by number, each worker reads what it has not seen (lua-resty-worker-events)
function P.events()
  local id = assert(d:incr("last", 1, 0))
  assert(d:add("event:" .. id, cjson.encode({ pid = ngx.worker.pid() }), 30))
  local seen, pids, count = 0, {}, 0
  for _ = 1, 2000 do
    local last = d:get("last")
    while seen < last do
      local text = d:get("event:" .. seen + 1)
      if not text then break end
      seen = seen + 1
      local pid = cjson.decode(text).pid
      if not pids[pid] then pids[pid], count = true, count + 1 end
    end
    if count == 4 then break end
    ngx.sleep(0.005)
  end
  d:rpush("seen", count)
end

-- one worker loads, the others wait for it; flags tell what a value is (lua-resty-shcache)
function P.cache()
  local value, flags = d:get("cached")
  if not value then
    local l = assert(lock:new("locks", { timeout = 20, exptime = 20 }))
    assert(l:lock("cached"))
    value, flags = d:get("cached")
    if not value then
      ngx.sleep(0.02)
      d:incr("loads", 1, 0)
      assert(d:set("cached", "v", 100, 2))
      value, flags = "v", 2
    end
    assert(l:unlock())
  end
  d:rpush("cached values", value .. flags)
end

-- counters that are kept here for a while, and an index of their names (nginx-lua-prometheus)
function P.counters()
  local here = {}
  for i = 1, 300 do
    local key = "metric{n=\\"" .. i % 3 .. "\\"}"
    here[key] = (here[key] or 0) + 1
    if i % 50 == 0 then
      for k, n in pairs(here) do
        local _, err = d:incr(k, n)
        if err == "not found" then
          if d:safe_add("index:" .. k, 1) then
            assert(d:safe_set("name:" .. d:incr("names", 1, 0), k))
          end
          assert(d:incr(k, n, 0))
        end
      end
      here = {}
    end
  end
end

-- as the configuration does not have it
function P.created()
  local made = assert(require("moonphase.shared").create("made", "5m"))
  for _ = 1, 1000 do made:incr("n", 1, 0) end
end

return function()
  for name, fn in pairs(P) do
    local ok, err = xpcall(fn, debug.traceback)
    if not ok then ngx.log(ngx.ERR, name, ": ", err) end
  end
  d:incr("workers", 1, 0)
end
`;

t.test('libraries across four workers', async (t) => {
  const server = await Server.start({
    workers: 4,
    files: { 'lua/patterns.lua': patterns },
    http: `
      lua_package_path "$prefix/lua/?.lua;;";
      lua_shared_dict d 5m;
      lua_shared_dict locks 100k;
      init_worker_by_lua_block { assert(ngx.timer.at(0, function() require("patterns")() end)) }
      server {
        listen 127.0.0.1:$port;
        location / { content_by_lua_block {
          local d = ngx.shared.d
          if d:get("workers") ~= 4 then return ngx.exit(404) end
          local made = require("moonphase.shared").create("made", "5m")
          local lists = {}
          for _, name in ipairs { "seen", "cached values" } do
            for _ = 1, d:llen(name) do lists[#lists + 1] = d:lpop(name) end
          end
          local sum = 0
          for i = 0, 2 do sum = sum + d:get('metric{n="' .. i .. '"}') end
          ngx.say(require("cjson").encode {
            d:get("locked"), d:get("taken"), table.concat(lists, " "), d:get("loads"), sum, d:get("names"), made:get("n"),
          })
        } }
      }`,
  });
  t.teardown(() => server.stop());
  let answer: unknown;
  for (let i = 0; i < 300 && answer === undefined; i++) {
    const response = await fetch(`http://127.0.0.1:${server.port}/`, {
      headers: { connection: 'close' },
    });
    if (response.ok) answer = await response.json();
    else await sleep(100);
  }
  t.same(answer, [100, 40, '4 4 4 4 v2 v2 v2 v2', 1, 1200, 3, 4000]);
});
