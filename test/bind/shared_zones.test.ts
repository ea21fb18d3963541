// Dictionaries that are created at run time, and those of a user's own node:cluster and worker_threads.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { createGateway } from '../../lib/index.js';
import { root, sleep } from '../helpers/server.js';

const library = path.join(root, 'dist/index.cjs');

/** Names in shared memory of servers that a process of this number has started. */
const namesOf = (pid: number | undefined): string[] =>
  fs.readdirSync('/dev/shm').filter((name) => name.split('-')[2] === String(pid));

t.test('created at run time, from JavaScript and Lua', async (t) => {
  const gw = await createGateway({ sharedDicts: { cats: '100k' }, locations: [] });
  await gw.start();
  const dict = gw.createShared('made', { size: '1m' });
  dict.set('tom', 9);
  t.equal(gw.shared['made']?.get('tom'), 9);
  t.same(
    gw.lua.eval(`
      local create = require("moonphase.shared").create
      local made = assert(create("made", "1m"))
      made:incr("tom", 1)
      local again = create("made", 1024 * 1024)
      local other, err = create("made", "2m")
      local cats, taken = create("cats", "100k")
      local small, invalid = create("small", "1k")
      return { made:get("tom"), made == again, ngx.shared.made == made, err, taken, invalid, made:capacity() }`),
    [
      10,
      true,
      true,
      'shared dictionary "made": the zone exists with a size of 1048576 bytes',
      'the configuration has a dictionary of this name',
      'invalid size',
      1048576,
    ],
  );
  t.equal(dict.get('tom'), 10);
  for (const wrong of [
    'create(nil, 1)',
    'create("", 1)',
    'create("x", nil)',
    'create("x", "1m", 5)',
    'create("x", "1m", { exakt = true })',
  ])
    t.throws(() => gw.lua.eval(`require("moonphase.shared").${wrong}`), wrong);
  t.throws(() => gw.createShared('cats', { size: '100k' }), { code: 'ERR_MOONPHASE_SHARED' });
  for (const size of ['1k', '-5', 'x', 0, NaN, 1e300])
    t.throws(() => gw.createShared('x', { size }), { code: 'ERR_MOONPHASE_OPTION' }, `${size}`);
  t.throws(() => gw.createShared('', { size: '1m' }), { code: 'ERR_MOONPHASE_OPTION' });
  t.throws(() => gw.createShared('huge', { size: '8000g' }), { code: 'ERR_MOONPHASE_START' });
  t.throws(() => gw.createShared('n'.repeat(300), { size: '1m' }), /too long/);

  dict.resize(3 * 1024 * 1024);
  t.equal(gw.lua.eval('return ngx.shared.made:capacity()'), 3 * 1024 * 1024);
  const any = gw.createShared('tables/ä', { size: '100k', values: 'any' });
  any.set('t', { a: [1, 2] });
  t.same(
    gw.lua.eval(
      'return require("moonphase.shared").create("tables/ä", "100k", { values = "any" }):get("t").a[2]',
    ),
    2,
  );
  await gw.reload();
  t.equal(gw.shared['made']?.get('tom'), 10, 'kept over a reload');
  await gw.stop();
});

t.test('without a dictionary in the configuration Lua has all methods', async (t) => {
  const gw = await createGateway({ locations: [] });
  await gw.start();
  t.equal(
    gw.lua.eval(`
      local d = require("moonphase.shared").create("first", "100k", { exact = true })
      d:set("a", 1) d:lpush("l", 1)
      return d:get("a") + d:incr("a", 4) + d:llen("l")`),
    7,
  );
  await gw.stop();
});

t.test('worker_threads see the same dictionaries', async (t) => {
  const gw = await createGateway({ sharedDicts: { threads: '5m' }, locations: [] });
  await gw.start();
  gw.createShared('threaded', { size: '5m' });
  const code = `
    const { workerData, parentPort } = require('node:worker_threads');
    const { createGateway } = require(workerData);
    createGateway({ sharedDicts: { threads: '5m' }, locations: [] }).then(async (gw) => {
      await gw.start();
      const made = gw.createShared('threaded', { size: '5m' });
      for (let i = 0; i < 1000; i++) { gw.shared.threads.incr('n', 1, 0); made.incr('n', 1, 0); }
      gw.lua.eval('for i = 1, 1000 do ngx.shared.threads:incr("n", 1, 0) end');
      await gw.stop();
      parentPort.postMessage('done');
    });`;
  await Promise.all(
    Array.from({ length: 4 }, () => {
      const worker = new Worker(code, { eval: true, workerData: library, execArgv: [] });
      return new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
    }),
  );
  t.equal(gw.shared['threads']?.get('n'), 8000);
  t.equal(gw.shared['threaded']?.get('n'), 4000);
  await gw.stop();
});

t.test("a user's own node:cluster", async (t) => {
  const code = `
    const cluster = require('node:cluster');
    const { createGateway } = require(${JSON.stringify(library)});
    const start = async () => {
      const gw = await createGateway({ sharedDicts: { cats: '5m' }, locations: [] });
      await gw.start();
      const made = gw.createShared('made', { size: '1m' });
      for (let i = 0; i < 500; i++) { gw.shared.cats.incr('n', 1, 0); made.incr('n', 1, 0); }
      gw.lua.eval('for i = 1, 500 do ngx.shared.cats:incr("n", 1, 0) end');
      process.on('message', (m) => process.send([gw.shared.cats.get('n'), made.get('n')]));
      process.send('ready');
    };
    if (cluster.isWorker) start();
    else {
      const next = (w) => new Promise((r) => w.once('message', r));
      (async () => {
        const workers = [1, 2, 3, 4].map(() => cluster.fork());
        await Promise.all(workers.map(next));
        workers[0].process.kill('SIGKILL');
        await new Promise((r) => workers[0].once('exit', r));
        const later = cluster.fork();
        await next(later);
        const answer = next(later);
        later.send('?');
        console.log(JSON.stringify(await answer));
        console.log(require('node:fs').readdirSync('/dev/shm').filter((n) => n.split('-')[2] === String(process.pid)).length);
        for (const w of workers.slice(1)) w.process.kill(process.argv[2]);
        later.process.kill('SIGKILL');
      })();
    }`;
  const run = async (signal: string): Promise<{ pid: number | undefined; text: string }> => {
    const env = { ...process.env };
    delete env['NODE_OPTIONS'];
    const dir = t.testdir({ 'main.cjs': code });
    const child = spawn(process.execPath, [`${dir}/main.cjs`, signal], { env });
    let text = '';
    for (const out of [child.stdout, child.stderr]) out.on('data', (data) => (text += data));
    await new Promise((resolve) => child.once('close', resolve));
    return { pid: child.pid, text };
  };
  const killed = await run('SIGKILL');
  t.match(killed.text, /^\[5000,2500\]\n2\n/);
  await sleep(50);
  // All were killed: the next one that starts removes what they left.
  const gw = await createGateway({ locations: [] });
  t.same(namesOf(killed.pid), []);
  t.ok(gw);
});
