// The methods of upstream groups: the same requests go to the same servers as with Debian's nginx. And what Moonphase
// has beyond it: changes at run time, seen by all workers.
import fs from 'node:fs';
import http from 'node:http';
import type net from 'node:net';
import t from 'tap';
import { createGateway } from '../../lib/index.js';
import { request } from '../helpers/http.js';
import { type Kind, Server } from '../helpers/server.js';

/** Servers that answer with their number; `/fail-N` is a 500 of number N. */
const backends = await Promise.all(
  [0, 1, 2, 3, 4].map(
    (n) =>
      new Promise<http.Server>((done) => {
        const server = http.createServer((req, res) => {
          res.statusCode = req.url?.includes(`fail-${n}`) === true ? 500 : 200;
          const wait = /slow=(\d+)/.exec(req.url ?? '')?.[1] ?? '0';
          setTimeout(() => res.end(String(n)), Number(wait));
        });
        server.listen(0, '127.0.0.1', () => {
          done(server);
        });
      }),
  ),
);
const [b0, b1, b2, b3, b4] = backends.map(
  (s) => `127.0.0.1:${(s.address() as net.AddressInfo).port}`,
);
t.teardown(() => {
  for (const backend of backends) {
    backend.closeAllConnections();
    backend.close();
  }
});

const groups: Readonly<Record<string, string>> = {
  rr: `server ${b0}; server ${b1}; server ${b2};`,
  weights: `server ${b0} weight=5; server ${b1} weight=2; server ${b2};`,
  failing: `server ${b0} weight=3 max_fails=2 fail_timeout=100s; server ${b1} weight=2; server ${b2} backup;`,
  down: `server ${b0} down; server ${b1}; server ${b2} weight=3;`,
  backup: `server ${b0} max_fails=1 fail_timeout=100s; server ${b1} backup; server ${b2} backup weight=2;`,
  least: `least_conn; server ${b0} weight=2; server ${b1}; server ${b2};`,
  hash: `hash $arg_k; server ${b0} weight=2; server ${b1}; server ${b2} weight=3; server ${b3};`,
  chash: `hash $arg_k consistent; server ${b0} weight=2; server ${b1}; server ${b2}; server ${b3} weight=3; server ${b4};`,
  ip: `ip_hash; server ${b0} weight=2; server ${b1}; server ${b2}; server ${b3} weight=3;`,
  zoned: `zone zoned 128k; server ${b0} weight=5; server ${b1} weight=2; server ${b2};`,
  zchash: `zone zchash 128k; hash $arg_k consistent; server ${b0} weight=2; server ${b1}; server ${b2};`,
};

function methods(kind: Kind): Promise<Server> {
  const upstreams = Object.entries(groups).map(([name, text]) => `upstream ${name} { ${text} }`);
  const locations = Object.keys(groups).map(
    (name) => `location /${name}/ { proxy_pass http://${name}/; }`,
  );
  return Server.start({
    kind,
    http: `
      ${upstreams.join('\n')}
      proxy_next_upstream error timeout http_500;
      server { listen 127.0.0.1:$port; ${locations.join('\n')} }`,
  });
}

async function sequence(server: Server): Promise<Record<string, string>> {
  const seen: Record<string, string> = {};
  for (const name of Object.keys(groups)) {
    let text = '';
    for (let i = 0; i < 24; i++) {
      const fail = name === 'failing' || name === 'backup' ? (i % 5 === 3 ? 'fail-0' : '') : '';
      const answer = await request(server.port, `/${name}/${fail}?k=key-${i * 7}`);
      text += answer.status === 200 ? answer.body : `(${answer.status})`;
    }
    seen[name] = text;
  }
  return seen;
}

const noNginx =
  !fs.existsSync('/usr/lib/nginx/modules/ngx_http_lua_module.so') &&
  'nginx with its Lua module is not installed';

void t.test('the same servers in the same order as with nginx', { skip: noNginx }, async (t) => {
  const ours = await methods('moonphase');
  t.teardown(() => ours.stop());
  const theirs = await methods('nginx');
  t.teardown(() => theirs.stop());
  t.strictSame(await sequence(ours), await sequence(theirs));
});

void t.test('random: everybody gets some, and none that is down', async (t) => {
  const server = await Server.start({
    http: `
      upstream one { random; server ${b0}; server ${b1} weight=2; server ${b2} down; }
      upstream two { random two least_conn; server ${b0}; server ${b1}; server ${b2} down; }
      server { listen 127.0.0.1:$port;
        location /one { proxy_pass http://one; } location /two { proxy_pass http://two; } }`,
  });
  t.teardown(() => server.stop());
  for (const path of ['/one', '/two']) {
    const seen = new Set<string>();
    for (let i = 0; i < 60; i++) seen.add((await request(server.port, path)).body);
    t.strictSame([...seen].sort(), ['0', '1'], path);
  }
});

void t.test('max_conns and least_conn count what is under way', async (t) => {
  const server = await Server.start({
    http: `
      upstream busy { zone busy 64k; server ${b0} max_conns=1; server ${b1} backup; }
      upstream least { least_conn; server ${b0}; server ${b1}; }
      server { listen 127.0.0.1:$port;
        location /busy { proxy_pass http://busy; } location /least { proxy_pass http://least; } }`,
  });
  t.teardown(() => server.stop());
  const slow = request(server.port, '/busy?slow=400');
  await new Promise((done) => setTimeout(done, 100));
  t.equal((await request(server.port, '/busy')).body, '1');
  t.equal((await slow).body, '0');
  t.equal((await request(server.port, '/busy')).body, '0');
  const first = request(server.port, '/least?slow=400');
  await new Promise((done) => setTimeout(done, 100));
  for (let i = 0; i < 3; i++) t.equal((await request(server.port, '/least')).body, '1');
  await first;
});

void t.test('upstream_api: all workers see a change at once', async (t) => {
  const server = await Server.start({
    workers: 2,
    http: `
      upstream_zone upstreams 256k;
      upstream fixed { server ${b0}; }
      server { listen 127.0.0.1:$port;
        location /upstreams { upstream_api; }
        location /fixed { proxy_pass http://fixed; }
        location ~ ^/to/(?<name>[^/]+) { proxy_pass http://$name; }
      }`,
  });
  t.teardown(() => server.stop());
  const api = (method: string, path: string, body = ''): ReturnType<typeof request> =>
    request(server.port, `/upstreams${path}`, { method, body });
  const fresh = async (path: string): Promise<string> => {
    const seen = new Set<string>();
    for (let i = 0; i < 24; i++) {
      const { status, body } = await request(server.port, path, {
        headers: { connection: 'close' },
      });
      seen.add(status === 200 ? body : String(status));
    }
    return [...seen].sort().join(' ');
  };
  t.equal(await fresh('/fixed'), '0');
  let answer = await api('PUT', '/fixed', `server ${b1}; server ${b2} weight=2;`);
  t.equal(answer.status, 200, answer.body);
  t.equal(await fresh('/fixed'), '1 2');
  t.equal(await fresh('/to/added'), '502', 'nobody of that name');
  answer = await api(
    'POST',
    '/added',
    JSON.stringify({ method: 'least_conn', servers: [{ address: b3 }, b4] }),
  );
  t.equal(answer.status, 200, answer.body);
  t.equal(await fresh('/to/added'), '3 4');
  answer = await api('GET', '/added');
  const group = JSON.parse(answer.body) as { method: string; servers: { address: string }[] };
  t.equal(group.method, 'least_conn');
  t.strictSame(
    group.servers.map((s) => s.address),
    [b3, b4],
  );
  t.equal((JSON.parse((await api('GET', '')).body) as unknown[]).length, 2);
  t.equal((await api('DELETE', '/added')).status, 200);
  t.equal((await api('DELETE', '/added')).status, 404);
  t.equal((await api('DELETE', '/fixed')).status, 409);
  t.equal(await fresh('/to/added'), '502');
  t.equal((await api('PUT', '/added', 'server nowhere.example;')).status, 400);
  t.equal((await api('PUT', '/added', 'servers;')).status, 400);
});

void t.test('gateway.upstreams and moonphase.upstream', async (t) => {
  const prefix = t.testdir({
    'nginx.conf': `
      events {} 
      error_log stderr;
      http {
        access_log off;
        upstream_zone upstreams 256k;
        upstream fixed { server ${b0}; }
        server { listen unix:${t.testdirName}/s.sock;
          location / { proxy_pass http://fixed; }
          location /lua { content_by_lua_block {
            local up = require "moonphase.upstream"
            ngx.say(up.add_server("fixed", { address = "${b2}" }))
            ngx.say(up.set_server("fixed", "${b1}", { down = true }))
            ngx.say(up.remove_server("fixed", "127.0.0.1:1"))
            ngx.say(#up.get("fixed").servers, " ", up.get("nobody"))
            ngx.say(up.set("bad name", {}))
            ngx.say(up.set("fixed", { { address = "${b1}", weight = "x" } }))
          } }
        } }`,
  });
  const gateway = await createGateway({ prefix, config: 'nginx.conf' });
  await gateway.start();
  t.teardown(() => gateway.stop({ timeout: 0 }));
  t.equal(gateway.upstreams.get('fixed')?.servers[0]?.address, b0);
  gateway.upstreams.set('fixed', [{ address: b1 ?? '', weight: 3, maxFails: 2 }]);
  t.match(gateway.upstreams.get('fixed')?.servers, [
    { address: b1, weight: 3, maxFails: 2, down: false },
  ]);
  gateway.upstreams.addServer('fixed', b3 ?? '');
  gateway.upstreams.removeServer('fixed', b3 ?? '');
  gateway.upstreams.set('more', [b0 ?? '']);
  t.strictSame(
    gateway.upstreams.list().map((u) => [u.name, u.added]),
    [
      ['fixed', false],
      ['more', true],
    ],
  );
  gateway.upstreams.remove('more');
  t.throws(
    () => {
      gateway.upstreams.remove('more');
    },
    { code: 'ERR_MOONPHASE_UPSTREAM', message: 'upstream not found' },
  );
});

void t.test('a balancer may wait with extended capabilities', async (t) => {
  const server = await Server.start({
    http: `
      lua_phase_capabilities extended;
      upstream chosen { balancer_by_lua_block {
        ngx.sleep(0.02)
        local b = require "ngx.balancer"
        ngx.thread.wait(ngx.thread.spawn(function() ngx.sleep(0.01) end))
        if ngx.var.arg_exit then return ngx.exit(tonumber(ngx.var.arg_exit)) end
        if ngx.var.arg_error then error("no way") end
        if ngx.var.arg_nobody then return end
        assert(b.set_current_peer(ngx.var.arg_to or "${b3}"))
        if not b.get_last_failure() then assert(b.set_more_tries(1)) end
      } }
      server { listen 127.0.0.1:$port;
        location / { proxy_pass http://chosen; } }`,
  });
  t.teardown(() => server.stop());
  t.equal((await request(server.port, '/')).body, '3');
  t.equal((await request(server.port, `/?to=${b1 ?? ''}`)).body, '1');
  t.equal((await request(server.port, '/?exit=403')).status, 403);
  t.equal((await request(server.port, '/?error=1')).status, 500);
  t.equal((await request(server.port, '/?nobody=1')).status, 500);
  t.equal((await request(server.port, '/?to=127.0.0.1:1')).status, 502);
  t.match(server.errorLog(), /failed to run balancer_by_lua\*: .*no way/);
  t.match(server.errorLog(), /lua balancer: no peer set/);
});
