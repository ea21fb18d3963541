import t from 'tap';
import { LuaError, LuaVM } from '../../lib/index.js';
import { root } from '../helpers/server.js';

t.test('a memory limit', async (t) => {
  const lua = new LuaVM({ memoryLimit: 16 << 20 });
  const grow = lua.eval<() => number>(`
    return function() local t = {} for i = 1, 1e9 do t[i] = "text " .. i end return #t end`);
  t.throws(() => grow(), { code: 'ERR_MOONPHASE_LUA', message: /not enough memory/ });
  t.throws(() => lua.eval('return ("x"):rep(1e9)'), { message: /not enough memory/ });
  t.equal(lua.eval('return 1 + 1'), 2, 'the VM goes on');
  t.ok(lua.memory < 16 << 20);
  t.same(
    lua.eval('return { pcall(string.rep, "x", 1e9) }'),
    [false, 'not enough memory'],
    'Lua code can catch it',
  );
  lua.close();
});

t.test('a memory limit that the other side has passed', async (t) => {
  t.throws(() => new LuaVM({ memoryLimit: 100_000 }), {
    code: 'ERR_MOONPHASE_OPTION',
    message: /^memoryLimit is 100000 bytes: a VM that has run nothing holds \d+$/,
  });
  const lua = new LuaVM({ memoryLimit: 1 << 20 });
  const big = 'x'.repeat(8 << 20);
  const names = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`name ${i}`, i]));
  lua.setGlobal('later', async () => big);
  lua.setGlobal('each', (fn: () => unknown) => fn());
  for (let i = 0; i < 3; i++) {
    lua.setGlobal('big', [big, names]);
    await t.rejects(async () => lua.eval('return ("y"):rep(1e9)'), /not enough memory/);
    await Promise.resolve(lua.eval('local s = later() return s .. s')).catch((error: Error) =>
      t.match(error.message, /not enough memory/),
    );
    lua.setGlobal('big', undefined);
    t.throws(
      () => lua.eval('each(function() local t = {} for i = 1, 1e9 do t[i] = i end end)'),
      /not enough memory/,
      'in a callback of JavaScript',
    );
  }
  t.equal(lua.eval('return 1 + 1'), 2, 'the VM goes on');
  lua.close();
});

t.test('a time limit', async (t) => {
  const lua = new LuaVM({ timeout: 50 });
  const slow = /has run for more than 50 ms without waiting/;
  const before = Date.now();
  t.throws(() => lua.eval('while true do end'), { code: 'ERR_MOONPHASE_LUA', message: slow });
  t.throws(() => lua.eval('while true do pcall(function() while true do end end) end'), {
    message: slow,
  });
  t.throws(() => lua.eval('local n = 0 for i = 1, 1e12 do n = n + i end return n'), {
    message: slow,
  });
  t.ok(Date.now() - before < 5000);
  lua.setGlobal('each', (fn: () => unknown) => fn());
  for (const code of [
    'each(function() while true do end end)',
    'while true do pcall(each, function() while true do end end) end',
    'return xpcall(function() while true do end end, function() while true do end end)',
    `local turn = coroutine.wrap(function() while true do coroutine.yield() end end)
     while true do turn() end`,
    `while true do
       coroutine.resume(coroutine.create(function() while true do coroutine.yield() end end))
     end`,
  ]) {
    const begun = Date.now();
    await Promise.resolve()
      .then(() => lua.eval(code))
      .catch((error: Error) => t.match(error.message, slow, code));
    t.ok(Date.now() - begun < 5000, code);
  }
  t.equal(lua.eval('return 1 + 1'), 2);
  t.equal(await lua.eval('ngx.sleep(0.1) return "waiting is no work"'), 'waiting is no work');
  await t.rejects(async () => lua.eval('ngx.sleep(0.001) while true do end'), { message: slow });
  lua.close();
});

t.test('a sandbox', async (t) => {
  const lua = new LuaVM({ sandbox: true, packagePath: `${root}/test/helpers/lua/?.lua` });
  for (const name of [
    'io',
    'os.execute',
    'os.getenv',
    'os.remove',
    'debug.sethook',
    'debug.getupvalue',
    'package.loadlib',
    'package.loaders',
    'package.loaded.ffi',
    'package.loaded.io',
    'package.preload.ffi',
    'package.preload.js',
    'dofile',
    'loadfile',
    'string.dump',
    'jit.off',
    'newproxy',
  ]) {
    t.equal(lua.eval(`return ${name}`), undefined, name);
  }
  for (const name of ['ffi', 'js', 'string.buffer', 'resty.core.base', 'io', 'jit.util']) {
    t.throws(() => lua.eval(`return require "${name}"`), { message: /not found/ }, name);
  }
  const bytecode = new LuaVM().eval<string | Buffer>('return string.dump(function() return 1 end)');
  t.equal(lua.eval('return (load((...)))', { args: [bytecode] }), undefined, 'no bytecode');
  t.throws(() => lua.eval('return load((...), "x", "b")', { args: [bytecode] }), /text only/);
  t.equal(lua.eval('return load("return 7")()'), 7);
  t.equal(lua.eval('return loadstring("return 8")()'), 8);
  t.equal(lua.eval('return ngx.re.match("abc", "b")[0]'), 'b', 'ngx goes on');
  t.same(lua.eval('return require("cjson").decode("[1]")'), [1]);
  t.equal(lua.eval<bigint>('return ...', { args: [5n] }), 5n);
  lua.setGlobal('host', async (n: number) => n * 2);
  t.equal(await lua.eval('ngx.sleep(0.001) return host(4)'), 8);
  lua.close();
});

t.test('an AbortSignal ends a call that waits', async (t) => {
  const lua = new LuaVM();
  const controller = new AbortController();
  const waiting = lua.eval<Promise<void>>('ngx.sleep(100)', { signal: controller.signal });
  const f = lua.withSignal(
    lua.eval<() => unknown>('return function() ngx.sleep(100) end'),
    controller.signal,
  );
  const other = f() as Promise<void>;
  controller.abort(new Error('enough'));
  await t.rejects(waiting, { message: 'enough' });
  await t.rejects(other, { message: 'enough' });
  t.throws(() => f(), { message: 'enough' }, 'before it begins');
  t.equal(lua.eval('return 1'), 1);
  lua.close();
});

t.test('live tables, values there and back', async (t) => {
  const lua = new LuaVM();
  lua.eval('state = { n = 1, inner = { list = { 1, 2 } } }');
  const state = lua.eval<{ n: number; inner: object }>('return state', { live: true });
  state.n = 5;
  t.equal(lua.eval('return state.n'), 5);
  t.same(lua.eval('return (...).a[2]', { args: [new Map([['a', [1, 'x']]])] }), 'x');
  t.equal(lua.eval('return ... == ngx.null', { args: [null] }), true);
  const circle: { self?: object } = {};
  circle.self = circle;
  t.throws(() => lua.eval('return 1', { args: [circle] }), { message: /contains itself/ });
  t.throws(() => lua.eval('local t = {} t.t = t return t'), { message: /contains itself/ });
  t.same(lua.eval('return ...', { args: [1, 'a', null], all: true }), [1, 'a', null]);
  const error = new RangeError('mine');
  lua.setGlobal('fail', () => {
    throw error;
  });
  try {
    lua.eval('local function inner() fail() end inner()', { name: 'mine.lua' });
  } catch (e) {
    t.equal(e, error);
    t.match((e as { luaStack: string }).luaStack, /mine\.lua:1/);
  }
  const stack = t.throws(() =>
    lua.eval('local x = nil\nreturn x.y', { name: 'app.lua' }),
  ) as LuaError;
  t.match(stack.stack, /app\.lua:2/);
  // what a call leaves behind does not show in the next
  lua.eval('ngx.ctx.left = 1');
  t.equal(lua.eval('return ngx.ctx.left'), undefined);
  lua.eval('setfenv(0, { changed = true })');
  t.equal(lua.eval('return changed'), undefined);
  // a call inside of a call inside of a call
  lua.setGlobal('again', (n: number): unknown =>
    n > 0 ? lua.eval('return again(...) + 1', { args: [n - 1] }) : 0,
  );
  t.equal(lua.eval('return again(20)'), 20);
  lua.close();
});

t.test('require "js"', async (t) => {
  const dir = t.testdir({
    'local.mjs':
      'export const answer = 42; export default 7; export async function* count(n) { for (let i = 1; i <= n; i++) yield i; }',
    node_modules: {
      esm: {
        'package.json': '{"name":"esm","type":"module","exports":{"import":"./main.js"}}',
        'main.js':
          'export class Point { constructor(x, y) { this.x = x; this.y = y } sum() { return this.x + this.y } static make(x) { return new Point(x, x) } }',
      },
      cjs: {
        'package.json': '{"name":"cjs","main":"main.js"}',
        'main.js':
          'const kept = "kept"; module.exports = { sign(v, o) { return this.prefix + v + (o?.a ?? "") }, prefix: "s:" , later: (v) => new Promise((r) => setTimeout(r, 5, { v })), each: (list, f) => list.map((x) => f(x)), fail() { throw new TypeError(kept) } };',
      },
    },
  });
  const lua = new LuaVM({ prefix: dir });
  const run = (code: string): unknown => lua.eval(`local js = require "js" ${code}`);
  t.equal(await run('local cjs = js.import("cjs") return cjs:sign("x", { a = 1 })'), 's:x1');
  t.equal(await run('local cjs = js.import("cjs") return cjs.sign("x")'), 's:x', 'a dot does too');
  t.equal(await run('local P = js.import("esm").Point return js.new(P, 1, 2):sum()'), 3);
  t.equal(await run('return js.import("esm").Point:make(4):sum()'), 8);
  t.equal(await run('return js.import("./local.mjs").answer'), 42);
  t.equal(await run('return js.import("node:path"):join("a", "b")'), 'a/b');
  t.equal(await run('local p = js.import("cjs"):later(3) return js.await(p).v'), 3);
  t.equal(
    await run(
      'local n = 0 for x in js.iter(js.import("./local.mjs"):count(4)) do n = n + x end return n',
    ),
    10,
  );
  t.equal(
    await run(
      'local n = 0 for x in js.iter(js.global.Array:of(1, 2, 3)) do n = n + x end return n',
    ),
    6,
  );
  t.same(
    await run('return js.tolua(js.import("cjs"):each({ 1, 2 }, function(x) return x * 2 end))'),
    [2, 4],
  );
  t.equal(await run('return tostring(js.global.JSON:stringify({ a = js.null }))'), '{"a":null}');
  t.same(
    await run(
      'local cjs = js.import("cjs") local ok, e = pcall(function() cjs:fail() end) return { ok, e.name, e.message }',
    ),
    [false, 'TypeError', 'kept'],
  );
  t.equal(run('return #js.global.Array:of(1, 2)'), 2);
  t.equal(run('local o = js.new(js.global.Map) o:set("k", 5) return o:get("k")'), 5);
  t.equal(run('return js.typeof(js.global.Math.max)'), 'function');
  const back = run('return js.global.Math');
  t.equal(back, Math, 'goes home as itself');
  await t.rejects(async () => run('js.import("no-such-package")'), { message: /no-such-package/ });
  lua.close();
});
