// A gateway inside a process: fetch, several of them, listen, reload, threads, the end.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { createGateway } from '../../lib/index.js';
import { freePorts, plainNode, root, sleep } from '../helpers/server.js';

const dist = path.join(root, 'dist/index.js');

t.test('fetch', async (t) => {
  const gw = await createGateway({
    locations: [
      {
        path: '= /hello',
        contentByLua:
          'ngx.header["X-A"] = "1" ngx.say("hello ", ngx.var.host, " ", ngx.var.scheme)',
      },
      { path: '= /echo', contentByLua: 'ngx.req.read_body() ngx.print(ngx.req.get_body_data())' },
      {
        path: '= /stream',
        contentByLua: 'for i = 1, 3 do ngx.say(i) ngx.flush(true) ngx.sleep(0.01) end',
      },
      {
        path: '= /endless',
        contentByLua: 'while ngx.say(("x"):rep(65536)) and ngx.flush(true) do end',
      },
      { path: '= /none', contentByLua: 'ngx.exit(204)' },
      { path: '= /gone', contentByLua: 'ngx.exit(444)' },
      { path: '= /sleep', contentByLua: 'ngx.sleep(5)' },
    ],
  });
  const hello = await gw.fetch(new Request('https://example.com/hello'));
  t.same(
    [hello.status, hello.headers.get('x-a'), await hello.text()],
    [200, '1', 'hello example.com https\n'],
  );
  const echo = new Request('http://a/echo', { method: 'POST', body: 'sent' });
  t.equal(await (await gw.fetch(echo)).text(), 'sent');
  const parts = new ReadableStream<Uint8Array>({
    async start(controller) {
      for (const part of ['one ', 'two']) {
        await sleep(5);
        controller.enqueue(Buffer.from(part));
      }
      controller.close();
    },
  });
  const streamed = new Request('http://a/echo', {
    method: 'POST',
    body: parts,
    duplex: 'half',
  } as RequestInit);
  t.equal(await (await gw.fetch(streamed)).text(), 'one two');
  t.equal(await (await gw.fetch(new Request('http://a/stream'))).text(), '1\n2\n3\n');
  const endless = await gw.fetch(new Request('http://a/endless'));
  const reader = endless.body?.getReader();
  await reader?.read();
  await reader?.cancel();
  t.equal((await gw.fetch(new Request('http://a/none'))).status, 204);
  t.equal((await gw.fetch(new Request('http://a/nowhere'))).status, 404);
  await t.rejects(gw.fetch(new Request('http://a/gone')), TypeError);
  const stopping = new AbortController();
  const slept = gw.fetch(new Request('http://a/sleep', { signal: stopping.signal }));
  setTimeout(() => stopping.abort(), 20);
  await t.rejects(slept, { name: 'AbortError' });
  await gw.stop({ timeout: 100 });
  await t.rejects(gw.fetch(new Request('http://a/hello')), { code: 'ERR_MOONPHASE_CLOSED' });
});

t.test('several gateways, and listen', async (t) => {
  const make = (name: string) =>
    createGateway({ locations: [{ path: '/', contentByLua: `ngx.print("${name}")` }] });
  const [one, two] = [await make('one'), await make('two')];
  const server = http.createServer((req, res) => (req.url === '/1' ? one : two).handler(req, res));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const get = async (port: number, at = '/'): Promise<string> =>
    (await fetch(`http://127.0.0.1:${port}${at}`, { headers: { connection: 'close' } })).text();
  t.equal(await get(port, '/1'), 'one');
  t.equal(await get(port, '/2'), 'two');
  const door = await two.listen({ host: '127.0.0.1' });
  t.equal(await get(door.port), 'two', 'the native door');
  t.same(two.addresses, [`127.0.0.1:${door.port}`]);
  await two.reload();
  t.equal(await get(door.port), 'two');
  await two.stop();
  t.equal(await get(port, '/1'), 'one');
  t.equal((await fetch(`http://127.0.0.1:${port}/2`)).status, 503);
  await one.stop();
  server.closeAllConnections();
  server.close();
  t.throws(() => one.stats, { code: 'ERR_MOONPHASE_CLOSED' });
});

t.test('reload', async (t) => {
  const conf = (text: string): string => `events {} http { server { listen 127.0.0.1:1;
    location / { content_by_lua_block { ngx.sleep(0.05) ngx.print("${text}") } } } }`;
  const dir = t.testdir({ 'nginx.conf': conf('first'), logs: {} });
  const gw = await createGateway({ prefix: dir, config: 'nginx.conf', errorLog: 'logs/e.log' });
  const get = async (): Promise<string> => (await gw.fetch(new Request('http://a/'))).text();
  t.equal(await get(), 'first');
  const before = get();
  fs.writeFileSync(`${dir}/nginx.conf`, conf('second'));
  await gw.reload();
  t.equal(await before, 'first', 'under way: the old pair');
  t.equal(await get(), 'second');
  fs.writeFileSync(
    `${dir}/nginx.conf`,
    `events {}\nhttp {\n  init_by_lua_block { error("bad") }\n}`,
  );
  await t.rejects(gw.reload(), { message: /nginx\.conf:3.*bad/ });
  fs.writeFileSync(`${dir}/nginx.conf`, 'events {}\nhttp {\n  oops;\n}');
  await t.rejects(gw.reload(), { line: 3, message: /unknown directive "oops"/ });
  t.equal(await get(), 'second');
  await gw.stop();
});

t.test('under load', async (t) => {
  const gw = await createGateway({ locations: [{ path: '/', contentByLua: 'ngx.print("ok")' }] });
  let going = true;
  let failed = 0;
  let answered = 0;
  const load = async (): Promise<void> => {
    while (going) {
      const text = await (await gw.fetch(new Request('http://a/'))).text();
      if (text !== 'ok') failed++;
      answered++;
      await new Promise((done) => setImmediate(done));
    }
  };
  const loads = [load(), load(), load()];
  for (let i = 0; i < 20; i++) {
    await gw.reload();
    await sleep(3); // where nothing waits a reload takes no turn of the loop
  }
  going = false;
  await Promise.all(loads);
  t.equal(failed, 0);
  t.ok(answered > 20);
  await gw.stop();
});

t.test('nothing is left on the loop', async (t) => {
  const code = `
    import http from 'node:http';
    import { createGateway } from '${dist}';
    const gw = await createGateway({ locations: [{ path: '/', contentByLua: 'ngx.print("done")' }] });
    const server = http.createServer(gw.handler).listen(0, async () => {
      const answer = await fetch('http://127.0.0.1:' + server.address().port, { headers: { connection: 'close' } });
      process.stdout.write(await answer.text());
      server.close();
      await gw.stop();
    });`;
  const child = spawnSync(...plainNode('--input-type=module', '-e', code), {
    encoding: 'utf8',
    timeout: 30_000,
  });
  t.match(child, { status: 0, stdout: 'done', stderr: '' });
});

t.test('in worker_threads', async (t) => {
  const code = `
    const { parentPort } = require('node:worker_threads');
    import('${dist}').then(async ({ createGateway }) => {
      const gw = await createGateway({ locations: [{ path: '/', contentByLua: 'ngx.sleep(0.01) ngx.print("thread")' }] });
      parentPort.postMessage(await (await gw.fetch(new Request('http://a/'))).text());
      await gw.stop();
    });`;
  const workers = [1, 2, 3].map(() => new Worker(code, { eval: true }));
  const ends = workers.map((worker) => new Promise((done) => worker.once('exit', done)));
  const said = await Promise.all(
    workers.map((worker) => new Promise((done) => worker.once('message', done))),
  );
  t.same(said, ['thread', 'thread', 'thread']);
  t.same(await Promise.all(ends), [0, 0, 0], 'each ends by itself');
});

t.test('in a cluster', async (t) => {
  const dir = t.testdir({
    'main.mjs': `
    import cluster from 'node:cluster';
    import http from 'node:http';
    import { createGateway } from '${dist}';
    if (cluster.isPrimary) {
      const worker = cluster.fork();
      worker.on('message', (text) => { process.stdout.write(text); worker.kill(); });
    } else {
      const gw = await createGateway({ locations: [{ path: '/', contentByLua: 'ngx.print("worker")' }] });
      const server = http.createServer(gw.handler).listen(0, async () => {
        const answer = await fetch('http://127.0.0.1:' + server.address().port);
        process.send(await answer.text());
      });
    }`,
  });
  const child = spawnSync(...plainNode(path.join(dir, 'main.mjs')), {
    encoding: 'utf8',
    timeout: 30_000,
  });
  t.match(child, { status: 0, stdout: 'worker' });
});

t.test('log_by_lua of what Node has answered', async (t) => {
  const dir = t.testdir({
    'nginx.conf': `events {} http {
      lua_shared_dict seen 1m;
      lua_phase_capabilities extended;
      log_format all '$status $sent_http_x_one|$sent_http_x_two|$sent_http_content_type|$sent_http_content_length';
      server {
        listen 127.0.0.1:1;
        location /lua { log_by_lua_block {
          local h, seen = ngx.header, ngx.shared.seen
          local all = ngx.resp.get_headers()
          seen:set("log", table.concat({ ngx.status, h.x_one, table.concat(h.x_two, "+"), h.content_type,
            ngx.var.sent_http_content_length, all["x-one"], ngx.var.body_bytes_sent,
            ngx.var.bytes_sent - ngx.var.body_bytes_sent > 100 and "head" or "no head" }, "|"))
        } }
        location /thread {
          access_by_lua_block { ngx.thread.spawn(function() ngx.sleep(0.1) end) }
          log_by_lua_block { ngx.shared.seen:set("thread", ngx.var.sent_http_x_one) }
        }
        location /waits { log_by_lua_block {
          ngx.sleep(0.05)
          ngx.shared.seen:set("waits", ngx.header.x_one)
        } }
        location /format { access_log logs/format.log all; }
        location /unseen { log_by_lua_block { ngx.shared.seen:set("unseen", ngx.status) } }
      }
    }`,
    logs: {},
  });
  const gw = await createGateway({ prefix: dir, config: 'nginx.conf', errorLog: 'logs/e.log' });
  const server = http.createServer((req, res) =>
    gw.handler(req, res, () => {
      res.setHeader('X-One', 'one');
      res.setHeader('X-Two', ['two', 'three']);
      res.setHeader('Content-Type', 'text/plain');
      res.setHeader('Content-Length', '5');
      res.end('hello');
    }),
  );
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  for (const at of ['lua', 'lua', 'waits', 'thread', 'format', 'unseen']) {
    await (await fetch(`http://127.0.0.1:${port}/${at}`)).text();
  }
  const seen = gw.shared['seen'];
  for (let i = 0; i < 100 && seen?.get('thread') === undefined; i++) await sleep(20);
  t.equal(seen?.get('log'), '200|one|two+three|text/plain|5|one|5|head');
  t.equal(seen?.get('thread'), 'one', 'logged later');
  t.equal(seen?.get('waits'), 'one', 'after the connection has let go of it');
  t.equal(seen?.get('unseen'), 200);
  await gw.stop();
  t.equal(fs.readFileSync(`${dir}/logs/format.log`, 'latin1'), '200 one|two, three|text/plain|5\n');
  server.closeAllConnections();
  server.close();
});

t.test('what fetch cannot do rejects', async (t) => {
  const gw = await createGateway({
    locations: [
      { path: '/', contentByLua: 'ngx.status = tonumber(ngx.var.arg_status) ngx.say("x")' },
    ],
  });
  for (const status of [100, 999])
    await t.rejects(gw.fetch(new Request(`http://a/?status=${status}`)), { name: 'RangeError' });
  t.equal((await gw.fetch(new Request('http://a/?status=201'))).status, 201);
  await t.rejects(gw.fetch('http://a/' as never), { code: 'ERR_MOONPHASE_OPTION' });
  for (const where of [undefined, { prt: 1 }, 70_000])
    await t.rejects(gw.listen(where as never), { code: 'ERR_MOONPHASE_OPTION' });
  await gw.stop();
});

t.test('cut off with connections that have sent nothing yet', async (t) => {
  const gw = await createGateway({ locations: [{ path: '/', contentByLua: 'ngx.say("x")' }] });
  const { port } = await gw.listen('127.0.0.1:0');
  const idle = net.connect(port, '127.0.0.1');
  const closed = new Promise((done) => idle.once('close', done));
  idle.on('error', () => undefined);
  await sleep(50);
  await gw.stop({ timeout: 0 });
  await closed;
  const code = `const { parentPort } = require('node:worker_threads');
    import(${JSON.stringify(dist)}).then(async ({ createGateway }) => {
      const gw = await createGateway({ locations: [{ path: '/', contentByLua: 'ngx.sleep(1)' }] });
      parentPort.postMessage((await gw.listen('127.0.0.1:0')).port);
    });`;
  for (let i = 0; i < 6; i++) {
    const worker = new Worker(code, { eval: true });
    const ended = new Promise((done) => worker.once('exit', done));
    const at = await new Promise<number>((done) => worker.once('message', done));
    const clients = [1, 2, 3].map(() => net.connect(at, '127.0.0.1').on('error', () => undefined));
    if (i % 2 === 0) await sleep(20);
    if (i % 3 === 0) for (const client of clients) client.write('GET / HTTP/1.1\r\n');
    await worker.terminate();
    await ended;
  }
  t.pass('no crash');
});

t.test('cut off with HTTP/2 streams at work', async (t) => {
  for (let round = 0; round < 5; round++) {
    const [port] = await freePorts(1);
    const dir = t.testdir({
      logs: {},
      'nginx.conf': `events {}
        http { server { listen 127.0.0.1:${port}; http2 on;
          location / { content_by_lua_block { ngx.req.read_body() ngx.sleep(5) ngx.say("x") } }
          location /long { content_by_lua_block {
            for i = 1, 1000 do ngx.say(("x"):rep(10000)) ngx.flush(true) ngx.sleep(0.001) end
          } } } }`,
    });
    const gw = await createGateway({ config: path.join(dir, 'nginx.conf'), prefix: dir });
    await gw.start();
    const client = http2.connect(`http://127.0.0.1:${port}`).on('error', () => undefined);
    const closed = new Promise((done) => client.once('close', done));
    for (let i = 0; i < 20; i++) {
      const stream = client.request(
        { ':path': i % 3 ? '/' : '/long', ':method': i % 2 ? 'POST' : 'GET' },
        { endStream: i % 4 !== 1 },
      );
      stream.on('error', () => undefined).resume();
      if (i % 4 === 1) stream.write('half');
    }
    await sleep(20 + 10 * round);
    await gw.stop({ timeout: 0 });
    await closed;
  }
  t.pass('no crash');
});

t.test('cut off by one of its own requests', async (t) => {
  for (const phase of ['access', 'content', 'log'] as const) {
    let stopped: Promise<void> | undefined;
    const gw = await createGateway({
      locations: [
        {
          path: '/',
          ...(phase === 'content' ? {} : { contentByLua: 'ngx.say("x")' }),
          [phase]: () => {
            stopped ??= gw.stop({ timeout: 0 });
          },
        },
      ],
    });
    const { port } = await gw.listen('127.0.0.1:0');
    const text = await fetch(`http://127.0.0.1:${port}/`).then(
      (answer) => answer.text(),
      () => 'closed',
    );
    await stopped;
    t.ok(['x\n', '', 'closed'].includes(text), `${phase}: ${text}`);
  }
});
