// A LuaVM that ends, or a call that is cancelled, while Lua runs: by what Lua has called, from a timer, from a promise.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import t from 'tap';
import { LuaVM } from '../../lib/index.js';
import { plainNode, root, sleep } from '../helpers/server.js';

t.test('closed by what Lua calls', async (t) => {
  const lua = new LuaVM();
  lua.setGlobal('close', () => lua.close());
  t.equal(lua.eval('close() return 5'), 5, 'what runs comes to its end');
  t.throws(() => lua.eval('return 1'), { code: 'ERR_MOONPHASE_CLOSED' });

  const timed = new LuaVM();
  let closed = false;
  timed.setGlobal('close', () => {
    timed.close();
    closed = true;
  });
  timed.eval('ngx.timer.at(0, function() close() end)');
  for (let i = 0; i < 500 && !closed; i++) await sleep(10); // timers keep no process alive
  t.throws(() => timed.eval('return 1'), { code: 'ERR_MOONPHASE_CLOSED' }, 'by a timer');

  const woken = new LuaVM();
  woken.setGlobal('close', () => woken.close());
  t.equal(await woken.eval('ngx.sleep(0.001) close() return 6'), 6, 'by a call that has waited');
});

t.test('calls that wait reject', async (t) => {
  const lua = new LuaVM();
  lua.setGlobal('never', () => new Promise(() => undefined));
  const closed = { code: 'ERR_MOONPHASE_CLOSED', message: /before this call ended/ };
  const asleep = lua.eval<Promise<void>>('ngx.sleep(100)');
  const waiting = lua.eval<Promise<void>>('never()');
  void lua.eval('while true do pcall(ngx.sleep, 0.01) end'); // nobody looks: no unhandled rejection
  lua.close();
  await t.rejects(asleep, closed);
  await t.rejects(waiting, closed);
});

t.test('an AbortSignal that what Lua calls aborts', async (t) => {
  const lua = new LuaVM();
  t.teardown(() => lua.close());
  for (const code of [
    'abort() ngx.sleep(100)',
    'ngx.sleep(0.001) abort() ngx.sleep(100)',
    'ngx.sleep(0.001) abort() return {}',
  ]) {
    const controller = new AbortController();
    lua.setGlobal('abort', () => controller.abort(new Error('enough')));
    const call = lua.eval<Promise<void>>(code, { signal: controller.signal });
    await t.rejects(call, { message: 'enough' }, code);
  }
  t.equal(lua.eval('return 1'), 1);
});

t.test('what finalizers do', async (t) => {
  const lua = new LuaVM();
  lua.setGlobal('call', (fn: unknown) => fn);
  lua.eval(`
    local ok, err = pcall(call, newproxy(true))
    for i = 1, 20 do
      local call = call
      getmetatable(newproxy(true)).__gc = function() call(print) end
    end
    call = nil collectgarbage() collectgarbage()`);
  lua.setGlobal('fail', () => {
    throw new Error('mine');
  });
  t.equal(lua.eval('local _, err = pcall(fail) return getmetatable(err.error)'), false);
  t.equal(lua.eval('return getmetatable(ngx.socket.tcp()[1] or io.stdout) == nil'), false);
  lua.close();
});

t.test(
  'a worker_thread that is terminated says nothing of the Lua code that it ends',
  async (t) => {
    const code = `
    import { Worker, isMainThread, parentPort } from 'node:worker_threads';
    if (isMainThread) {
      for (let i = 0; i < 8; i++) {
        const worker = new Worker(new URL(import.meta.url));
        await new Promise((ready) => worker.once('message', ready));
        await new Promise((over) => setTimeout(over, i * 3));
        await worker.terminate();
      }
    } else {
      const { LuaVM } = await import(${JSON.stringify(path.join(root, 'dist/index.js'))});
      const tick = () => new Promise((over) => setTimeout(over, 1));
      const lua = new LuaVM({ globals: { tick, now: () => 1 } });
      lua.eval(\`
        local function run() while true do tick() for i = 1, 100 do now() end end end
        for i = 1, 5 do ngx.timer.at(0, run) ngx.thread.spawn(run) end
        run()\`);
      parentPort.postMessage(1);
    }`;
    const file = path.join(t.testdir({ 'main.mjs': code }), 'main.mjs');
    const { status, stderr } = spawnSync(...plainNode(file), { encoding: 'utf8', timeout: 60_000 });
    t.equal(status, 0);
    t.equal(stderr, '');
  },
);

t.test('a process with closed VMs ends; what timers and print say is on stderr', async (t) => {
  const code = `
    const { LuaVM } = await import(${JSON.stringify(path.join(root, 'dist/index.js'))});
    const lua = new LuaVM({ globals: { fail: () => { throw new Error('of JavaScript') } } });
    lua.eval('print("printed") ngx.timer.at(0, function() error("of a timer") end) ngx.timer.at(0, fail)');
    lua.eval('while true do ngx.sleep(0.01) end');
    setTimeout(() => lua.close(), 30);`;
  const { status, stderr } = spawnSync(...plainNode('-e', code), {
    encoding: 'utf8',
    timeout: 20_000,
  });
  t.equal(status, 0, stderr);
  t.match(stderr, /\[notice\].*printed/);
  t.match(stderr, /lua entry thread aborted: runtime error: .*of a timer/);
  t.match(stderr, /lua entry thread aborted: runtime error: Error: of JavaScript/);
});
