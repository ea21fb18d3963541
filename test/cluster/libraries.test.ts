// Libraries around shared dictionaries, unmodified, in four workers at once: MOONPHASE_TEST_LIBS names a directory with
// checkouts of them, side by side. `shared.test.ts` has what they do with dictionaries, without them.
import fs from 'node:fs';
import t, { type Test } from 'tap';
import { Server, sleep } from '../helpers/server.js';

const libraries = process.env['MOONPHASE_TEST_LIBS'] ?? '';
const WORKERS = 4;

interface Subject {
  readonly library: string;
  /** What each worker runs, in a timer of its own: Lua that returns what JSON can express. */
  readonly work: string;
  /** init_worker_by_lua, before that. */
  readonly init?: string;
  readonly expected: unknown;
  /** Another body for a location /more of the server, once all workers are done. */
  readonly more?: string;
  readonly checkMore?: (t: Test, text: string) => void;
}

const subjects: readonly Subject[] = [
  {
    library: 'lua-resty-lock',
    work: `
      local lock = require "resty.lock"
      for _ = 1, 25 do
        local l = assert(lock:new("locks", { timeout = 20, exptime = 20 }))
        assert(l:lock("k"))
        local n = d:get("n") or 0
        ngx.sleep(0)
        d:set("n", n + 1)
        assert(l:unlock())
      end
      return together("lock", function() return d:get("n") end)`,
    expected: [100, 100, 100, 100],
  },
  {
    library: 'lua-resty-limit-rate',
    work: `
      local limit = assert(require("resty.limit.rate").new("d", 1e9, 40, 1, nil,
        { lock_enable = true, locks_shdict_name = "locks" }))
      for _ = 1, 15 do
        local taken, err
        repeat taken, err = limit:take_available("k", 1) until err ~= "timeout"
        assert(taken, err)
        d:incr("taken", taken, 0)
      end
      return together("rate", function() return d:get("taken") end)`,
    expected: [40, 40, 40, 40],
  },
  {
    library: 'lua-resty-limit-traffic',
    work: `
      local count = assert(require("resty.limit.count").new("d", 40, 1000))
      local conn = assert(require("resty.limit.conn").new("conns", 1000, 0, 1))
      local allowed, inside = 0, 0
      for _ = 1, 15 do
        local delay, left = count:incoming("k", true)
        if delay then allowed = allowed + 1 else assert(left == "rejected", left) end
        assert(conn:incoming("c", true))
        ngx.sleep(0)
        inside = assert(conn:leaving("c"))
      end
      d:incr("allowed", allowed, 0)
      return together("traffic", function() return { d:get("allowed"), ngx.shared.conns:get("c") } end)`,
    expected: Array.from({ length: WORKERS }, () => [40, 0]),
  },
  {
    library: 'lua-resty-worker-events',
    init: `
      local events = require "resty.worker.events"
      seen, alone = {}, 0
      events.register(function(data, event, source, pid) seen[#seen + 1] = pid .. ":" .. data end, "test", "each")
      events.register(function() ngx.shared.d:incr("alone", 1, 0) end, "test", "one")
      assert(events.configure { shm = "events", interval = 0.05, wait_interval = 0.01, wait_max = 2 })`,
    work: `
      local events = require "resty.worker.events"
      together("ready", function() end) -- a worker hears of what comes after its start
      for i = 1, 10 do
        assert(events.post("test", "each", i))
        ngx.sleep(0.001)
      end
      assert(events.post("test", "one", 1, "the same"))
      for _ = 1, 2000 do
        if #seen == 40 then break end
        ngx.sleep(0.005)
      end
      return together("events", function() return { table.concat(seen, " "), d:get("alone") } end)`,
    expected: undefined,
  },
  {
    library: 'lua-resty-shcache',
    work: `
      local shcache = require "shcache"
      local function load(key, found)
        local cache = shcache:new(d, {
          external_lookup = function()
            ngx.sleep(0.05)
            ngx.shared.more:incr("loads " .. key, 1, 0)
            return found
          end,
        }, { positive_ttl = 100, negative_ttl = 100, lock_options = { timeout = 20, exptime = 20 } })
        return cache:load(key)
      end
      local is, is_not = load("there", "value"), load("not there", nil)
      is = load("there", "value")
      return together("shcache", function()
        return { is, is_not or "nothing", ngx.shared.more:get("loads there"), ngx.shared.more:get("loads not there") }
      end)`,
    expected: Array.from({ length: WORKERS }, () => ['value', 'nothing', 1, 1]),
  },
  {
    library: 'lua-resty-mlcache',
    work: `
      local cache = assert(require("resty.mlcache").new("c", "d", { ipc_shm = "events", resty_lock_opts = { timeout = 20 } }))
      local function load()
        ngx.sleep(0.05)
        return { loads = ngx.shared.more:incr("loads", 1, 0) }
      end
      local first = assert(cache:get("k", nil, load)).loads
      together("read", function() end)
      if ngx.worker.id() == 0 then
        assert(cache:set("k", nil, { loads = "changed" }))
        ngx.shared.more:set("changed", true)
      end
      while not ngx.shared.more:get("changed") do ngx.sleep(0.002) end
      assert(cache:update(1))
      return { first, assert(cache:get("k", nil, load)).loads }`,
    expected: Array.from({ length: WORKERS }, () => [1, 'changed']),
  },
  {
    library: 'nginx-lua-prometheus',
    init: `
      metrics = require("prometheus").init("d", { sync_interval = 0.05 })
      requests = metrics:counter("requests_total", "how many", { "kind" })
      sizes = metrics:histogram("sizes", "how large", { "kind" }, { 1, 10 })
      clients = metrics:gauge("clients", "how many now")`,
    work: `
      for i = 1, 300 do
        requests:inc(1, { i % 3 })
        sizes:observe(i % 20, { "a" })
        clients:inc(i % 2 == 0 and 1 or -1)
        if i % 50 == 0 then ngx.sleep(0.01) end
      end
      ngx.sleep(0.3)
      return together("prometheus", function() return 1 end)`,
    expected: [1, 1, 1, 1],
    more: 'metrics:collect()',
    checkMore: (t, text) => {
      for (const kind of [0, 1, 2]) t.match(text, `requests_total{kind="${kind}"} 400\n`);
      t.match(text, /^sizes_count\{kind="a"\} 1200$/m);
      t.match(text, /^sizes_bucket\{kind="a",le="10"\} 660$/m);
      t.match(text, /^clients 0$/m);
      t.match(text, /^nginx_metric_errors_total 0$/m);
    },
  },
];

const common = (work: string): string => `
local d = ngx.shared.d

-- what fn returns once all workers have come here
local function together(name, fn)
  ngx.shared.more:incr(name, 1, 0)
  while ngx.shared.more:get(name) < ${WORKERS} do ngx.sleep(0.005) end
  return fn()
end

local function work() ${work}
end

return function()
  local ok, result = xpcall(work, debug.traceback)
  ngx.shared.results:rpush("list", require("cjson").encode(result or ok))
end`;

for (const { library, work, init, expected, more, checkMore } of subjects) {
  const skip = !fs.existsSync(`${libraries}/${library}`) && `no checkout of ${library}`;
  t.test(`${library} in four workers`, { skip }, async (t) => {
    const paths = subjects.flatMap((s) => [
      `${libraries}/${s.library}/lib/?.lua`,
      `${libraries}/${s.library}/?.lua`,
    ]);
    const server = await Server.start({
      workers: WORKERS,
      // shcache wants such a module
      files: { 'lua/work.lua': common(work), 'lua/conf.lua': 'return {}' },
      http: `
        lua_package_path "$prefix/lua/?.lua;${paths.join(';')};;";
        lua_shared_dict d 5m;
        lua_shared_dict conns 1m;
        lua_shared_dict events 1m;
        lua_shared_dict more 100k;
        lua_shared_dict results 100k;
        lua_shared_dict locks 100k;
        init_worker_by_lua_block {
          ${init ?? ''}
          assert(ngx.timer.at(0, function() require("work")() end))
        }
        server {
          listen 127.0.0.1:$port;
          keepalive_timeout 0;
          location = /results { content_by_lua_block {
            local results = ngx.shared.results
            if results:llen("list") < ${WORKERS} then return ngx.exit(404) end
            local list = {}
            for i = 1, ${WORKERS} do list[i] = results:lpop("list") end
            ngx.say("[", table.concat(list, ","), "]")
          } }
          location = /more { content_by_lua_block { ${more ?? ''} } }
        }`,
    });
    t.teardown(() => server.stop());
    let results: unknown;
    for (let i = 0; i < 600 && results === undefined; i++) {
      const answer = await fetch(`http://127.0.0.1:${server.port}/results`);
      if (answer.ok) results = await answer.json();
      else await sleep(50);
    }
    if (expected !== undefined) {
      t.same(results, expected);
    } else {
      const all = results as [string, number][];
      const [first = ['', 0]] = all;
      t.equal(first[0].split(' ').length, 40, 'all events');
      t.equal(new Set(first[0].split(' ')).size, 40, 'each once');
      for (const each of all) t.same(each, [first[0], 1], 'in the same order everywhere');
    }
    if (checkMore !== undefined)
      checkMore(t, await (await fetch(`http://127.0.0.1:${server.port}/more`)).text());
    t.notMatch(server.errorLog(), /\[(error|alert|crit|emerg)\]/);
  });
}
