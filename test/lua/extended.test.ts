// lua_phase_capabilities extended where blocks do not reach: what init_by_lua and init_worker_by_lua ask is another
// server, and the server does not listen before they are through.
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { createGateway } from '../../lib/index.js';
import { request } from '../helpers/http.js';
import { freePorts, Server, sleep } from '../helpers/server.js';

interface Peer {
  readonly port: number;
  readonly asked: string[];
  most: number;
}

/** Answers "URI!" after 50 ms; /never not at all. */
async function startPeer(t: Test): Promise<Peer> {
  const peer = { port: 0, asked: [] as string[], most: 0 };
  let open = 0;
  const server = http.createServer((req, res) => {
    peer.asked.push(req.url as string);
    peer.most = Math.max(peer.most, ++open);
    res.on('close', () => --open);
    if (req.url !== '/never') setTimeout(() => res.end(`${req.url}!`), 50);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  peer.port = (server.address() as AddressInfo).port;
  return peer;
}

const fetchLua = (port: number): string => `
return function(uri)
  local sock = ngx.socket.tcp()
  assert(sock:connect("127.0.0.1", ${port}))
  assert(sock:send("GET " .. uri .. " HTTP/1.0\\r\\n\\r\\n"))
  local answer = assert(sock:receive("*a"))
  return answer:match("\\r\\n\\r\\n(.*)$")
end`;

const top = 'lua_phase_capabilities extended; lua_package_path "$prefix/lua/?.lua;;";';

async function body(port: number, uri = '/t'): Promise<string> {
  return (await request(port, uri, { headers: { Connection: 'close' } })).body;
}

void t.test('wish 1020: light threads of init_by_lua load from a remote service', async (t) => {
  const peer = await startPeer(t);
  for (const workers of [0, 2]) {
    peer.asked.length = 0;
    const server = await Server.start({
      workers,
      http: `${top}
        init_by_lua_block {
          local fetch = require "fetch"
          local threads = {}
          for i = 1, 5 do threads[i] = ngx.thread.spawn(fetch, "/" .. i) end
          loaded = {}
          for i = 1, 5 do local ok, text = ngx.thread.wait(threads[i]) loaded[i] = text end
          local next = coroutine.wrap(function() ngx.sleep(0.01) coroutine.yield(ngx.get_phase()) end)
          phase = next()
          local sem = require("ngx.semaphore").new(0)
          ngx.thread.spawn(function() ngx.sleep(0.01) sem:post() end)
          assert(sem:wait(1))
        }
        server { listen 127.0.0.1:$port; location /t { content_by_lua_block { ngx.say(table.concat(loaded, " "), " ", phase) } } }`,
      files: { 'lua/fetch.lua': fetchLua(peer.port) },
    });
    t.teardown(() => server.stop());
    t.equal(await body(server.port), '/1! /2! /3! /4! /5! init\n');
    t.equal(peer.asked.length, 5 * Math.max(1, workers));
  }
  t.ok(peer.most >= 5, 'at once');
});

void t.test('wish 998: a cosocket in init_worker_by_lua', async (t) => {
  const peer = await startPeer(t);
  const server = await Server.start({
    http: `${top}
      init_worker_by_lua_block { ngx.sleep(0.1) loaded = require("fetch")("/worker") .. ngx.get_phase() }
      server { listen 127.0.0.1:$port; location /t { content_by_lua_block { ngx.say(loaded) } } }`,
    files: { 'lua/fetch.lua': fetchLua(peer.port) },
  });
  t.teardown(() => server.stop());
  t.equal(await body(server.port), '/worker!init_worker\n', 'there before the first request');
});

void t.test('failures after a wait', async (t) => {
  for (const workers of [0, 1]) {
    await t.rejects(
      Server.start({
        workers,
        http: `${top}
        init_by_lua_block { ngx.sleep(0.02) error("no way") }
        server { listen 127.0.0.1:$port; }`,
      }),
      /init_by_lua error: init_by_lua\S*:1: no way/,
      'of init_by_lua: no start',
    );
  }
  const server = await Server.start({
    http: `${top}
      init_worker_by_lua_block { ngx.sleep(0.02) error("not today") }
      server { listen 127.0.0.1:$port; location /t { return 200 up; } }`,
  });
  t.teardown(() => server.stop());
  t.equal(await body(server.port), 'up');
  t.ok(await server.logged('init_worker_by_lua error: init_worker_by_lua'), 'as without a wait');
});

void t.test('a reload waits for the new init, the old plan serves meanwhile', async (t) => {
  const peer = await startPeer(t);
  const server = await Server.start({
    http: `${top}
      lua_shared_dict times 64k;
      init_by_lua_block { if ngx.shared.times:incr("inits", 1, 0) > 1 then ngx.sleep(0.4) end times = ngx.shared.times:get("inits") }
      init_worker_by_lua_block { if times > 1 then ngx.sleep(0.2) end ready = times }
      server { listen 127.0.0.1:$port; location /t { content_by_lua_block { ngx.say(ready) } } }`,
    files: { 'lua/fetch.lua': fetchLua(peer.port) },
  });
  t.teardown(() => server.stop());
  server.signal('SIGHUP');
  const seen = new Set<string>();
  for (const end = Date.now() + 1500; Date.now() < end; await sleep(20))
    seen.add(await body(server.port));
  t.same([...seen], ['1\n', '2\n']);
});

void t.test('the server ends while init waits', async (t) => {
  for (const phase of ['init', 'init_worker']) {
    for (const signal of ['SIGTERM', 'SIGQUIT'] as const) {
      for (const workers of [0, 1]) {
        const peer = await startPeer(t);
        const started = Server.start({
          workers,
          http: `${top}
            ${phase}_by_lua_block {
              ngx.thread.spawn(function() ngx.sleep(10) end)
              require("fetch")("/never")
            }
            server { listen 127.0.0.1:$port; }`,
          files: { 'lua/fetch.lua': fetchLua(peer.port) },
        }).catch((error: Error) => error.message);
        for (let i = 0; i < 200 && !peer.asked.length; ++i) await sleep(20);
        // The process is known by the prefix in its command line.
        const pid = await pidThatWaits(peer.port);
        process.kill(pid, signal);
        const message = await Promise.race([started, sleep(5000).then(() => 'it has not ended')]);
        t.match(message, /did not start/, `${signal} in ${phase}, ${workers} workers`);
        t.notMatch(message as string, /\[(emerg|alert|crit)\]|exited on signal/);
      }
    }
  }
});

/** The first of our moonphase-nginx processes that are children of this one. */
async function pidThatWaits(port: number): Promise<number> {
  const children = fs
    .readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'latin1')
    .trim()
    .split(/\s+/)
    .map(Number)
    .filter((pid) => /nginx|moonphase/.test(fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1')));
  if (children.length !== 1) throw new Error(`${children.length} servers, peer ${port}`);
  return children[0] as number;
}

void t.test('a slow log handler holds neither the connection nor the next request', async (t) => {
  const server = await Server.start({
    http: `${top}
      lua_shared_dict logged 64k;
      log_format short '$uri $status $connection_requests';
      access_log logs/access.log short;
      server {
        listen 127.0.0.1:$port;
        location /t { content_by_lua_block { ngx.say(ngx.var.arg_n) }
          log_by_lua_block {
            local n, all = ngx.var.arg_n, ngx.shared.logged
            local before = ngx.var.request .. ngx.var.bytes_sent .. ngx.var.connection_requests
            ngx.sleep(0.3)
            local behind = ngx.var.request .. ngx.var.bytes_sent .. ngx.var.connection_requests
            all:set(n, before == behind and ngx.req.get_headers()["x-n"] .. " " .. ngx.var.remote_addr .. " " .. ngx.var.server_port or before .. " " .. behind)
          } }
        location /logged { content_by_lua_block { for i = 1, 20 do ngx.say(ngx.shared.logged:get(i)) end } }
      }`,
  });
  let stopped = false;
  t.teardown(() => stopped || server.stop());
  const began = Date.now();
  const text = await new Promise<string>((done) => {
    let text = '';
    const socket = net.connect(server.port, '127.0.0.1');
    let n = 0;
    const next = (): void => {
      ++n;
      const close = n === 20 ? 'Connection: close\r\n' : '';
      socket.write(`GET /t?n=${n} HTTP/1.1\r\nHost: x\r\nX-N: ${n}\r\n${close}\r\n`);
    };
    socket.on('data', (data) => {
      text += data.toString('latin1');
      if (n < 20) next();
    });
    socket.on('close', () => done(text));
    next();
  });
  const took = Date.now() - began;
  t.equal(text.split('HTTP/1.1 200').length - 1, 20);
  t.ok(took < 20 * 300, `20 requests on a connection took ${took} ms`);
  t.equal(
    (fs.readFileSync(`${server.prefix}/logs/access.log`, 'latin1').match(/\/t 200/g) ?? []).length,
    20,
  );
  await sleep(600);
  const wanted = Array.from({ length: 20 }, (_, i) => `${i + 1} 127.0.0.1 ${server.port}\n`).join(
    '',
  );
  t.equal(await body(server.port, '/logged'), wanted);

  await body(server.port, '/t?n=30');
  stopped = true;
  t.equal(await server.stop(), 0, 'QUIT waits for the handler');
});

void t.test('createGateway({ capabilities })', async (t) => {
  const peer = await startPeer(t);
  const [port = 0] = await freePorts(1);
  const options = (capabilities?: 'extended' | 'strict') => ({
    prefix: t.testdir({ lua: { 'fetch.lua': fetchLua(peer.port) }, logs: {} }),
    luaPackagePath: '$prefix/lua/?.lua;;',
    ...(capabilities ? { capabilities } : {}),
    initByLua: 'loaded = require("fetch")("/gateway")',
    listen: `127.0.0.1:${port}`,
    locations: [{ path: '/t', contentByLua: 'ngx.say(loaded)' }],
  });
  for (const capabilities of [undefined, 'strict'] as const) {
    const strict = await createGateway(options(capabilities));
    await t.rejects(strict.start(), /init_by_lua error:.*no request found/s);
    await strict.stop();
  }
  const gw = await createGateway(options('extended'));
  const started = gw.start();
  await started;
  t.equal(await body(port), '/gateway!\n');
  await gw.stop();
  const stopped = await createGateway(options('extended'));
  const starting = stopped.start().then(
    () => 'started',
    (error: Error) => error.message,
  );
  await stopped.stop();
  t.type(await starting, 'string', 'an end while it starts');
});
