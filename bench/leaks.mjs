#!/usr/bin/env node
// What stays behind where TypeScript and Lua meet: calls both ways, worker_threads that are terminated at random
// moments, reloads of gateways in Node's http server under load. Memory has to stay flat, no request may fail.
//   node bench/leaks.mjs [--calls=10000000] [--workers=1000] [--reloads=500] [--every=600]
// 0 leaves a part out. npm run soak runs it at this size, test/bind/leaks.test.ts in short.
import { fork } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import v8 from 'node:v8';
import vm from 'node:vm';
import { Worker } from 'node:worker_threads';
import { LuaVM, createGateway } from '../dist/index.js';
import { number, options } from './options.mjs';
import { makePrefix } from './place.mjs';

const self = fileURLToPath(import.meta.url);
/** Growth that is no leak: allocators keep some. */
const ALLOWED = 32;

v8.setFlagsFromString('--expose-gc');
const gc = vm.runInNewContext('gc');
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const megabytes = () => process.memoryUsage().rss / (1 << 20);
let failed = false;
const verdict = (ok, text) => {
  if (!ok) failed = true;
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${text}`);
};
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
/** Of samples over time: the last third beside the second, what comes before warms up. */
function growth(samples) {
  const third = Math.floor(samples.length / 3);
  return median(samples.slice(-third)) - median(samples.slice(third, 2 * third));
}

/** Functions of both sides as arguments and results, objects, errors, promises: all dropped at once. */
async function calls(count) {
  const lua = new LuaVM({ globals: { later: (x) => Promise.resolve(x) } });
  const both = lua.eval('return function(f) return f(function(x) return x end) end');
  const objects = lua.eval('return function(t) t.more = { 1, 2 } return t end');
  const waits = lua.eval('return function(x) return later(x) end');
  const throws = lua.eval('return function(f) f() end');
  const fail = () => {
    throw new RangeError('thrown');
  };
  const samples = [];
  const rounds = 30;
  const began = performance.now();
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < count / rounds / 2; i++) {
      if (both((g) => g(i)) !== i) verdict(false, 'another result');
      if (i % 10 === 0) objects({ a: i, text: 'some text' });
      if (i % 50 === 0) await waits(i);
      if (i % 100 === 0) {
        try {
          throws(fail);
          verdict(false, 'nothing was thrown');
        } catch {
          // as it should
        }
      }
      // finalizers run between turns of the loop
      if (i % 2000 === 0) await new Promise((done) => setImmediate(done));
    }
    lua.eval('collectgarbage()');
    gc();
    await sleep(5);
    lua.eval('collectgarbage()');
    samples.push([megabytes(), lua.memory / (1 << 20)]);
  }
  const [resident, ofLua] = [0, 1].map((i) => growth(samples.map((sample) => sample[i])));
  verdict(
    resident < ALLOWED && ofLua < 4,
    `${count} calls both ways in ${Math.round((performance.now() - began) / 1000)} s: ` +
      `${resident.toFixed(1)} MB more, of Lua's heap ${ofLua.toFixed(1)} MB`,
  );
  lua.close();
}

async function workers(count) {
  const code = `
    import net from 'node:net';
    import { LuaVM, createGateway } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
    const lua = new LuaVM({ globals: { host: async (x) => x, now: (f) => f(1) } });
    const f = lua.eval(\`return function(n)
      for i = 1, n do host({ i }) now(function(x) return x end) ngx.sleep(0) end return n end\`);
    const gw = await createGateway({ locations: [
      { path: '/', contentByLua: 'ngx.sleep(0.001) ngx.say("lua")' },
      { path: '/js', content: async (req, ngx) => { await ngx.sleep(0.001); ngx.say('js'); } } ] });
    // By a socket of our own: a Request's WebAssembly and Node's HTTP parser do not always survive the end of their thread.
    const { port } = await gw.listen('127.0.0.1:0');
    setInterval(() => {
      f(50);
      lua.eval('ngx.timer.at(0.001, function() host(1) end)');
      for (const at of ['/', '/js'])
        net.connect(port, '127.0.0.1').on('error', () => undefined).resume().end('GET ' + at + ' HTTP/1.0\\r\\n\\r\\n');
    }, 1);
    setInterval(() => gw.reload(), 20);
  `;
  const samples = [];
  for (let i = 0; i < count; i++) {
    const thread = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
    const ended = new Promise((done) => thread.once('exit', done));
    thread.on('error', (error) => verdict(false, `a thread: ${error.stack}`));
    if (i % 4 > 0) await new Promise((done) => thread.once('online', done));
    await sleep(Math.random() * 150);
    await thread.terminate();
    await ended;
    gc();
    samples.push(megabytes());
  }
  // glibc keeps an arena for each thread that lives at the same time
  const more = growth(samples);
  verdict(more < 2 * ALLOWED, `${count} worker_threads terminated: ${more.toFixed(1)} MB more`);
}

/** The clients of `reloads`, in a process of their own: `process.send` tells of what they got. */
async function clients(port) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
  const count = { answered: 0, failed: 0, reasons: [] };
  let going = true;
  process.on('message', () => (going = false));
  const ask = (at) =>
    new Promise((done) => {
      const note = (reason) => {
        count.failed++;
        if (count.reasons.length < 5) count.reasons.push(`${at}: ${reason}`);
        done();
      };
      const request = http.get({ port, host: '127.0.0.1', path: at, agent }, (response) => {
        let text = '';
        response.on('data', (data) => (text += data));
        response.on('error', (error) => note(error.message));
        response.on('end', () => {
          if (response.statusCode !== 200 || !text.startsWith('ok'))
            return note(`${response.statusCode} ${text.slice(0, 80)}`);
          count.answered++;
          done();
        });
      });
      request.on('error', (error) => note(error.message));
    });
  const paths = ['/lua', '/js', '/wait', '/route'];
  await Promise.all(
    Array.from({ length: 8 }, async (_, i) => {
      for (let n = i; going; n++) await ask(paths[n % paths.length]);
    }),
  );
  agent.destroy();
  process.send(count, () => process.disconnect());
}

async function reloads(count, every) {
  const dir = makePrefix('leaks');
  fs.writeFileSync(
    path.join(dir, 'handlers.mjs'),
    `export async function ok(req, ngx) { await ngx.sleep(0.001); ngx.say('ok ', ngx.ctx.seen); }`,
  );
  fs.writeFileSync(
    path.join(dir, 'conf/nginx.conf'),
    `events {}
    http {
      access_log off;
      lua_shared_dict counts 64k;
      init_worker_by_lua_block { ngx.timer.every(0.05, function() ngx.shared.counts:incr("n", 1, 0) end) }
      server {
        rewrite_by_lua_block { ngx.ctx.seen = ngx.var.uri }
        location = /lua { content_by_lua_block { ngx.say("ok") } }
        location = /js { content_by_js handlers.mjs#ok; }
        location = /wait { content_by_lua_block { ngx.sleep(0.02) ngx.say("ok ", ngx.ctx.seen) } }
        location = /route { log_by_lua_block { ngx.shared.counts:incr("logged", 1, 0) } }
      }
    }`,
  );
  const gateways = [];
  for (let i = 0; i < 2; i++) {
    gateways.push(
      await createGateway({ prefix: dir, config: 'conf/nginx.conf', errorLog: 'logs/error.log' }),
    );
  }
  let turn = 0;
  const server = http.createServer((req, res) =>
    gateways[turn++ % 2].handler(req, res, () => res.end('ok of a route')),
  );
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const load = fork(self, [`--load=${server.address().port}`]);
  const answer = new Promise((done) => load.once('message', done));
  const samples = [];
  for (let i = 0; i < count; i++) {
    const next = sleep(every);
    await Promise.all(gateways.map((gateway) => gateway.reload()));
    await next;
    gc();
    samples.push(megabytes());
  }
  load.send('stop');
  const { answered, failed, reasons } = await answer;
  server.closeAllConnections();
  server.close();
  await Promise.all(gateways.map((gateway) => gateway.stop({ timeout: 2000 })));
  fs.rmSync(dir, { recursive: true, force: true });
  const more = growth(samples);
  verdict(
    failed === 0 && answered > count && more < ALLOWED,
    `${count} reloads of two gateways, one in ${every} ms: ${answered} answers, ${failed} failed, ` +
      `${more.toFixed(1)} MB more ${reasons.join('; ')}`,
  );
}

if (options.load !== undefined) {
  await clients(Number(options.load));
} else {
  if (number('calls', 1e7) > 0) await calls(number('calls', 1e7));
  if (number('workers', 1000) > 0) await workers(number('workers', 1000));
  if (number('reloads', 500) > 0) await reloads(number('reloads', 500), number('every', 600));
  process.exitCode = failed ? 1 : 0;
}
