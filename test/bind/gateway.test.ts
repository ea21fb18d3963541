import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { createGateway, MoonphaseError } from '../../lib/index.js';
import { freePorts, root, sleep } from '../helpers/server.js';

const get = async (port: number, at: string): Promise<[number, string, string | null]> => {
  const response = await fetch(`http://127.0.0.1:${port}${at}`, {
    headers: { connection: 'close' },
  });
  return [response.status, await response.text(), response.headers.get('server')];
};

t.test('an nginx.conf in our own process', async (t) => {
  const [port = 0] = await freePorts(1);
  const conf = (text: string): string => `
    daemon on; worker_processes 4; error_log logs/error.log; pid logs/nginx.pid;
    events {}
    http {
      access_log off;
      lua_shared_dict cats 1m;
      init_by_lua_block { answer = function(x) return x * 2 end }
      server {
        listen 127.0.0.1:${port};
        location /t { content_by_lua_block { ngx.say("${text} ", (ngx.shared.cats:incr("n", 1, 0))) } }
        location /slow { content_by_lua_block { ngx.sleep(0.2) ngx.say("slow") } }
      }
    }`;
  const dir = t.testdir({ conf: { 'nginx.conf': conf('one') }, logs: {} });
  const gw = await createGateway({ prefix: dir, config: 'conf/nginx.conf' });
  await gw.start();
  t.same(gw.addresses, [`127.0.0.1:${port}`]);
  t.same(await get(port, '/t'), [200, 'one 1\n', null], 'no Server header');
  t.equal(gw.shared['cats']?.get('n'), 1, 'the same dictionary');
  gw.shared['cats']?.set('n', 10);
  t.same(await get(port, '/t'), [200, 'one 11\n', null]);
  t.equal(gw.lua.eval('return answer(21)'), 42, "the configuration's VM");
  t.ok(gw.stats.requests >= 2);
  await t.rejects(gw.start(), { code: 'ERR_MOONPHASE_START' });

  fs.writeFileSync(`${dir}/conf/nginx.conf`, conf('two'));
  const slow = get(port, '/slow');
  await sleep(50);
  await gw.reload();
  t.same(await get(port, '/t'), [200, 'two 12\n', null], 'a new plan, the old dictionary');
  t.same(await slow, [200, 'slow\n', null], 'what ran before the reload ends under the old plan');

  fs.writeFileSync(`${dir}/conf/nginx.conf`, 'nonsense;');
  await t.rejects(gw.reload(), {
    code: 'ERR_MOONPHASE_CONFIG',
    line: 1,
    message: /unknown directive "nonsense"/,
  });
  t.same(await get(port, '/t'), [200, 'two 13\n', null]);

  const last = get(port, '/slow');
  await sleep(50);
  await gw.stop();
  t.same(await last, [200, 'slow\n', null], 'stop() waits for requests');
  await t.rejects(get(port, '/t'));
  t.throws(() => gw.stats, { code: 'ERR_MOONPHASE_CLOSED' });

  fs.writeFileSync(`${dir}/conf/nginx.conf`, conf('three'));
  const again = await createGateway({ prefix: dir, config: 'conf/nginx.conf' });
  await again.start();
  t.match((await get(port, '/t'))[1], /^three/);
  await again.stop({ timeout: 0 });
});

t.test('options instead of a file', async (t) => {
  const [port = 0] = await freePorts(1);
  const gw = await createGateway({
    listen: `127.0.0.1:${port}`,
    sharedDicts: { limits: '1m' },
    locations: [{ path: '= /hello', contentByLua: 'ngx.say("Hello from Lua")' }],
  });
  await gw.start();
  t.same(await get(port, '/hello'), [200, 'Hello from Lua\n', null]);
  t.ok(gw.shared['limits']);
  await gw.stop();
});

t.test('what is wrong is said', async (t) => {
  await t.rejects(createGateway(undefined as never), { code: 'ERR_MOONPHASE_OPTION' });
  await t.rejects(createGateway({ config: 1 as never }), {
    message: 'config is a string, not 1',
  });
  await t.rejects(createGateway({ locations: [{ path: '/', content: 1 as never }] }), {
    code: 'ERR_MOONPHASE_OPTION',
  });
  const [port = 0] = await freePorts(1);
  const locations = [{ path: '/', contentByLua: 'ngx.say(1)' }];
  const one = await createGateway({ listen: `127.0.0.1:${port}`, locations });
  await one.start();
  const two = await createGateway({
    listen: `127.0.0.1:${port}`,
    initByLua: 'error("x")',
    locations,
  });
  await t.rejects(two.start(), {
    code: 'ERR_MOONPHASE_LISTEN',
    message: /bind\(\) to .* Address already in use/,
  });
  await one.stop();
  await t.rejects(two.start(), { message: /init_by_lua error: .*x/ });
});

t.test('shared dictionaries: what OpenResty has not', async (t) => {
  const gw = await createGateway({
    sharedDicts: { more: '100k', any: { size: '100k', values: 'any' } },
    locations: [],
  });
  await gw.start();
  t.teardown(() => gw.stop());
  const { more: d, any } = gw.shared;
  if (d === undefined || any === undefined) throw new Error('no dictionary');
  t.equal(d.cas('k', undefined, 1), true);
  t.equal(d.cas('k', undefined, 1), false);
  t.equal(d.cas('k', 1, 'two', 100), true);
  t.ok((d.ttl('k') ?? 0) > 90);
  t.equal(d.cas('k', 'two', undefined), true);
  t.equal(d.get('k'), undefined);
  t.equal(d.setMulti([['a', 1] as const, ['b', 'two'] as const], 100), true);
  t.same(d.getMulti(['b', 'none', 'a']), [
    ['b', 'two'],
    ['a', 1],
  ]);
  t.throws(() => d.set('x', { a: 1 }), { code: 'ERR_MOONPHASE_OPTION' });

  d.resize(2_000_000);
  t.equal(d.capacity, 2_000_000);
  d.set('large', 'x'.repeat(1_000_000));
  t.equal(gw.lua.eval('return ngx.shared.more:capacity()'), 2_000_000);
  t.equal(gw.lua.eval('return ngx.shared.more:get("a")'), 1);
  t.throws(() => d.resize(50_000), { message: 'no memory' });
  t.throws(() => d.resize(1), { code: 'ERR_MOONPHASE_OPTION' });
  t.match(d.stats(), { entries: 3, capacity: 2_000_000, evictions: 0, recoveries: 0 });
  await gw.reload();
  t.equal(gw.shared['more']?.capacity, 2_000_000, 'a reload keeps the size');
  t.equal(gw.shared['more']?.get('a'), 1);

  const value = {
    list: [1, 'two', [true, null]],
    deep: { text: 'täxt', none: {}, big: 2n ** 40n },
    many: Array.from({ length: 9000 }, (_, i) => i),
    long: 'x'.repeat(300),
  };
  any.resize(1_000_000);
  any.set('v', value);
  t.same(any.get('v'), value);
  t.equal(gw.lua.eval('return ngx.shared.any:get("v").deep.text'), 'täxt');
  t.equal(gw.lua.eval('return #ngx.shared.any:get("v").many'), 9000);
  gw.lua.eval('ngx.shared.any:set("l", { 1, 2, { x = "y", [1.5] = 3, n = -2 } })');
  t.same(any.get('l'), [1, 2, { x: 'y', '1.5': 3, n: -2 }]);
  gw.lua.eval('ngx.shared.any:set("e", {})');
  t.same(any.get('e'), {});
  t.throws(() => any.set('f', { f() {} }), { message: 'the value holds a function or a symbol' });
  const loop: unknown[] = [];
  loop.push(loop);
  t.throws(() => any.set('f', loop), { message: 'the value is nested too deep' });
  t.throws(() => gw.lua.eval('return assert(ngx.shared.more:set("t", {}))'), /bad value type/);
});

t.test('subscribers are told of changes', async (t) => {
  const gw = await createGateway({ sharedDicts: { news: '100k' }, locations: [] });
  await gw.start();
  t.teardown(() => gw.stop());
  const { news: d } = gw.shared;
  if (d === undefined) throw new Error('no dictionary');
  const seen: unknown[] = [];
  const end = d.subscribe('a', (key, change) => seen.push([key, change]));
  gw.lua.eval('ngx.shared.news:set("a1", 1) ngx.shared.news:set("b", 1)');
  d.delete('a1');
  d.flushAll();
  for (let i = 0; i < 100 && seen.length < 3; i++) await sleep(10);
  t.same(seen, [
    ['a1', 'set'],
    ['a1', 'delete'],
    [undefined, 'flush'],
  ]);
  end();
  end();
  d.set('a2', 1);
  await sleep(50);
  t.equal(seen.length, 3);
  t.throws(() => d.subscribe(1 as never, () => undefined), { code: 'ERR_MOONPHASE_OPTION' });
});

t.test('shared dictionaries from JavaScript', async (t) => {
  const gw = await createGateway({ sharedDicts: { d: '100k' }, locations: [] });
  await gw.start();
  t.teardown(() => gw.stop());
  const d = gw.shared['d'];
  if (d === undefined) throw new Error('no dictionary');
  t.equal(d.get('x'), undefined);
  t.equal(d.set('x', 'täxt'), true);
  t.equal(d.get('x'), 'täxt');
  d.set('b', Buffer.from([255, 0]));
  t.same(d.get('b'), Buffer.from([255, 0]));
  d.set('f', false);
  t.equal(d.get('f'), false);
  t.equal(d.add('x', 1), false);
  t.equal(d.replace('none', 1), false);
  t.equal(d.replace('x', 2.5), true);
  t.equal(d.incr('x', 1), 3.5);
  t.equal(d.incr('none', 1), undefined);
  t.equal(d.incr('new', 1, 10), 11);
  t.throws(() => d.incr('b', 1), { code: 'ERR_MOONPHASE_SHARED', message: 'not a number' });
  d.set('t', 1, 100);
  t.ok((d.ttl('t') ?? 0) > 90);
  t.equal(d.ttl('x'), 0);
  t.equal(d.ttl('none'), undefined);
  t.equal(d.expire('t', 0.001), true);
  t.equal(d.expire('none', 1), false);
  await sleep(10);
  t.equal(d.get('t'), undefined);
  t.equal(d.flushExpired(), 1);
  d.delete('x');
  t.same(d.keys().map(String).sort(), ['b', 'f', 'new'].map((k) => k).sort());
  t.equal(d.capacity, 102400);
  t.ok(d.freeSpace > 0);
  t.throws(() => d.set('big', 'x'.repeat(200_000)), { message: 'no memory' });
  d.set('new', 11);
  t.equal(gw.lua.eval('return ngx.shared.d:get("new")'), 11);
  d.flushAll();
  t.same(d.keys(), []);
  t.throws(() => d.get(1 as never), { code: 'ERR_MOONPHASE_OPTION' });
  t.throws(() => d.set('', 1), { code: 'ERR_MOONPHASE_SHARED', message: 'empty key' });
  t.throws(() => d.set('x'.repeat(65536), 1), { message: 'key too long' });
  t.throws(() => d.add('nothing', undefined as never), { message: /nil values/ });
  for (const ttl of [-1, NaN, Infinity, 'x', null]) {
    t.throws(() => d.set('q', 1, ttl as never), {
      code: 'ERR_MOONPHASE_OPTION',
      message: 'bad "exptime" argument',
    });
  }
  t.ok(thrown(() => d.set('q', 1, -1)) instanceof MoonphaseError);
});

const thrown = (work: () => unknown): unknown => {
  try {
    work();
    return undefined;
  } catch (error) {
    return error;
  }
};

t.test("the Server header is this gateway's own", async (t) => {
  const [port = 0] = await freePorts(1);
  for (const serverHeader of ['a', 'b', undefined, 'c']) {
    const gw = await createGateway({
      listen: `127.0.0.1:${port}`,
      ...(serverHeader === undefined ? {} : { serverHeader }),
      locations: [{ path: '/', contentByLua: 'ngx.say("x")' }],
    });
    await gw.start();
    t.same(await get(port, '/'), [200, 'x\n', serverHeader ?? null]);
    await gw.stop();
  }
});

t.test('options that are wrong are refused by name', async (t) => {
  const bad: [unknown, RegExp][] = [
    [{ config: 'nginx.conf', serverHeader: 'a\r\nX-Inj: y' }, /^serverHeader is a string of/],
    [{ serverHeader: 5, locations: [] }, /^serverHeader is a string of/],
    [{ config: 'nginx.conf', listen: 80 }, /has no option "listen"/],
    [{ config: 'nginx.conf', prefix: 5 }, /^prefix is a string, not 5/],
    [{ sharedDicts: { 'a b': '1m' } }, /"a b" is no name of a shared dictionary/],
    [5, /takes an object of options/],
  ];
  for (const [options, message] of bad)
    await t.rejects(createGateway(options as never), { message });
  const gw = await createGateway({ locations: [] });
  await gw.start();
  await t.rejects(gw.stop({ timeout: 'x' as never }), {
    code: 'ERR_MOONPHASE_OPTION',
    message: 'timeout is a number of milliseconds, not "x"',
  });
  await gw.stop();
});

t.test('worker_threads may be terminated at any moment', async (t) => {
  // plain JavaScript: tap's loader is not for threads
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { LuaVM } = require(workerData);
    const lua = new LuaVM({ globals: { later: () => new Promise((r) => setTimeout(r, 1)) } });
    parentPort.postMessage(lua.eval('return 1 + 1'));
    const spin = async () => { for (;;) { await lua.eval('later() ngx.sleep(0.001) local t = {} for i = 1, 100 do t[i] = i end'); } };
    for (let i = 0; i < 5; i++) void spin();
    lua.eval('ngx.timer.every(0.001, function() end)');`;
  for (let i = 0; i < 12; i++) {
    const worker = new Worker(code, {
      eval: true,
      workerData: path.join(root, 'dist/index.cjs'),
      execArgv: [],
    });
    const ended = new Promise((resolve, reject) =>
      worker.once('exit', resolve).once('error', reject),
    );
    if (i % 3 !== 0) await new Promise((resolve) => worker.once('message', resolve));
    await sleep((i % 4) * 7);
    await worker.terminate();
    await ended;
  }
  t.pass('and the process is there');
});

t.test('a script ends by itself when nothing is left to do', async (t) => {
  const script = (code: string): Promise<[number | null, string]> =>
    new Promise((resolve) => {
      const env = { ...process.env };
      delete env['NODE_OPTIONS'];
      const child = spawn(process.execPath, ['-e', code], { env, cwd: root });
      let text = '';
      child.stdout.on('data', (data) => (text += data));
      child.stderr.on('data', (data) => (text += data));
      child.on('close', (status) => resolve([status, text]));
    });
  const vm = "const { LuaVM } = require('./dist/index.cjs');";
  t.same(await script(`${vm} console.log(new LuaVM().eval('return 7'))`), [0, '7\n']);
  t.same(await script(`${vm} new LuaVM().eval('ngx.sleep(0.05) return 8').then(console.log)`), [
    0,
    '8\n',
  ]);
  t.match(await script(`${vm} new LuaVM().eval('error("x")')`), [
    1,
    /LuaError: \(eval\):1: x\n {4}at /,
  ]);
});
