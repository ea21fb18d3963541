// Kong's lua-resty-healthcheck, unmodified, in two workers before real backends: MOONPHASE_TEST_LIBS names a directory
// with checkouts of it, of lua-resty-worker-events (0.3.3, which it insists on) and of lua-resty-timer.
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { Server, sleep } from '../helpers/server.js';

const libraries = process.env['MOONPHASE_TEST_LIBS'] ?? '';
const needed = ['lua-resty-healthcheck', 'lua-resty-worker-events', 'lua-resty-timer'];
const WORKERS = 2;

function whyNot(): string | false {
  const missing = needed.find((name) => !fs.existsSync(`${libraries}/${name}`));
  if (missing !== undefined) return `no checkout of ${missing}`;
  const events = `${libraries}/lua-resty-worker-events/lib/resty/worker/events.lua`;
  const [, version = ''] = /_VERSION = ["']([^"']*)/.exec(fs.readFileSync(events, 'latin1')) ?? [];
  return version !== '0.3.3' && `lua-resty-worker-events is ${version}`;
}

/** A server that answers what it is told to, on one port for all its lives. */
class Backend {
  status = 200;
  probes = 0;
  port = 0;
  private server: http.Server | undefined;

  constructor(readonly name: string) {}

  async start(): Promise<this> {
    const server = http.createServer((req, res) => {
      if (req.url === '/health') ++this.probes;
      res.writeHead(req.url === '/health' && this.status === 503 ? 200 : this.status);
      res.end(this.name);
    });
    await new Promise<void>((done) => server.listen(this.port, '127.0.0.1', done));
    this.port = (server.address() as AddressInfo).port;
    this.server = server;
    return this;
  }

  async stop(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    if (server === undefined) return;
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
}

const lua = (backends: readonly Backend[]): string => `
  local targets = { ${backends.map(({ port }) => `{ "127.0.0.1", ${port} }`).join(', ')} }
  local M = {}

  function M.start()
    assert(require("resty.worker.events").configure { shm = "events", interval = 0.05 })
    local checker = assert(require("resty.healthcheck").new {
      name = "backends", shm_name = "health", type = "http",
      checks = {
        active = {
          http_path = "/health", timeout = 0.5,
          healthy = { interval = 0.1, successes = 2 },
          unhealthy = { interval = 0.1, tcp_failures = 2, http_failures = 2, timeouts = 2 },
        },
        passive = {
          healthy = { successes = 2 },
          unhealthy = { http_statuses = { 503 }, http_failures = 3, tcp_failures = 2 },
        },
      },
    })
    if ngx.worker.id() == 0 then
      for _, each in ipairs(targets) do assert(checker:add_target(each[1], each[2], nil, true)) end
    end
    M.checker = checker
    -- what this worker thinks of each
    assert(ngx.timer.every(0.02, function()
      local seen = {}
      for i, each in ipairs(targets) do seen[i] = tostring(checker:get_target_status(each[1], each[2])) end
      ngx.shared.views:set(ngx.worker.id(), table.concat(seen, " "))
    end))
  end

  local turn = 0
  function M.choose()
    for _ = 1, #targets do
      turn = turn % #targets + 1
      local each = targets[turn]
      if M.checker:get_target_status(each[1], each[2]) then
        ngx.ctx.target = each
        return assert(require("ngx.balancer").set_current_peer(each[1], each[2]))
      end
    end
    return ngx.exit(502)
  end

  function M.report()
    local each = ngx.ctx.target
    local status = tonumber(ngx.var.upstream_status)
    if each and status then M.checker:report_http_status(each[1], each[2], nil, status, "passive") end
  end

  return M`;

t.test('lua-resty-healthcheck in two workers', { skip: whyNot() }, async (t) => {
  const [a, b] = await Promise.all([new Backend('a').start(), new Backend('b').start()]);
  t.teardown(() => Promise.all([a.stop(), b.stop()]));
  const paths = needed.map((name) => `${libraries}/${name}/lib/?.lua`);
  const server = await Server.start({
    workers: WORKERS,
    files: { 'lua/gateway.lua': lua([a, b]) },
    http: `
        lua_package_path "$prefix/lua/?.lua;${paths.join(';')};;";
        lua_shared_dict health 1m;
        lua_shared_dict events 1m;
        lua_shared_dict views 100k;
        init_worker_by_lua_block { require("gateway").start() }
        upstream backends {
          server 0.0.0.1;
          balancer_by_lua_block { require("gateway").choose() }
        }
        server {
          listen 127.0.0.1:$port;
          keepalive_timeout 0;
          location / {
            proxy_pass http://backends;
            log_by_lua_block { require("gateway").report() }
          }
          location = /views { content_by_lua_block {
            local views = {}
            for id = 0, ${WORKERS - 1} do views[id + 1] = ngx.shared.views:get(id) or "none" end
            ngx.print(table.concat(views, ", "))
          } }
        }`,
  });
  t.teardown(() => server.stop());
  const get = async (path: string): Promise<string> => {
    const answer = await fetch(`http://127.0.0.1:${server.port}${path}`);
    return `${answer.status} ${await answer.text()}`;
  };
  /** Until all workers agree. */
  const agreed = async (view: string, what: string): Promise<void> => {
    const wanted = `200 ${Array.from({ length: WORKERS }, () => view).join(', ')}`;
    let seen = '';
    for (let i = 0; i < 300 && seen !== wanted; i++) {
      seen = await get('/views');
      if (seen !== wanted) await sleep(30);
    }
    t.equal(seen, wanted, what);
  };
  const answers = async (n: number): Promise<Record<string, number>> => {
    const counts: Record<string, number> = {};
    for (let i = 0; i < n; i++) {
      const text = await get('/');
      counts[text] = (counts[text] ?? 0) + 1;
    }
    return counts;
  };

  await agreed('true true', 'both are healthy');
  const both = await answers(20);
  t.same(Object.keys(both).sort(), ['200 a', '200 b']);

  b.status = 500;
  await agreed('true false', 'active checks find the one that answers 500');
  t.same(await answers(20), { '200 a': 20 }, 'nobody is sent there');
  b.status = 200;
  await agreed('true true', 'and find it well again');

  await a.stop();
  await agreed('false true', 'active checks find the one that is gone');
  t.same(await answers(20), { '200 b': 20 }, 'nobody meets it');
  await a.start();
  await agreed('true true', 'and back');

  // one that answers probes, but no requests: only what clients get tells of it
  b.status = 503;
  let met = 0;
  for (let i = 0; i < 200 && (await get('/views')).includes('true true'); i++) {
    if ((await get('/')) === '503 b') met++;
  }
  t.ok(met >= 3, `passive checks count what clients got: ${met}`);
  const last = /unhealthy HTTP increment \(3\/3\) for '.*while logging request/;
  t.ok(await server.logged(last), 'with the third one it is out');

  // one worker checks for all
  const before = a.probes;
  await sleep(1500);
  const count = a.probes - before;
  t.ok(count >= 5 && count <= 25, `${count} probes in 1.5 s at most every 0.1 s`);
  t.notMatch(server.errorLog(), /\[(error|alert|crit|emerg)\] (?!.*connect\(\) failed \(111)/);
});
