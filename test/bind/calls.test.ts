import { getEventListeners, once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
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

t.test('what Lua code puts in the place of native objects is not taken for them', async (t) => {
  const lua = new LuaVM({ sandbox: true, sharedDicts: { one: 32768, two: 32768 } });
  t.teardown(() => lua.close());
  lua.setGlobal('fail', () => {
    throw new Error('x');
  });
  const server = createServer((socket) => socket.pipe(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  lua.setGlobal('port', (server.address() as AddressInfo).port);
  const said = await lua.eval<Promise<string[]>>(`
    local tcp, udp, dict = ngx.socket.tcp(), ngx.socket.udp(), ngx.shared.one
    assert(tcp:connect("127.0.0.1", port))
    assert(udp:setpeername("127.0.0.1", port))
    tcp:bind("127.0.0.1")
    local _, thrown = pcall(fail)
    local real = { tcp = tcp[1], udp = udp[1], dict = dict[1], bind = tcp[8], error = thrown.error }
    local said = {}
    local function try(what, object, own, ...)
      for name, value in pairs(real) do
        if name ~= own then
          object[1] = value
          for _, call in ipairs { ... } do
            local method = call[1]
            local ok, why = pcall(object[method], object, unpack(call, 2))
            if ok or not tostring(why):find('^bad ') then
              said[#said + 1] = what .. method .. " of " .. name .. ": " .. tostring(why)
            end
          end
        end
      end
      object[1] = real[own]
    end
    try("tcp:", tcp, "tcp", { "send", "a" }, { "receive" }, { "close" }, { "connect", "a", 1 }, { "settimeout", 1 })
    try("udp:", udp, "udp", { "send", "a" }, { "receive" }, { "close" }, { "setpeername", "a", 1 })
    try("dict:", dict, "dict", { "get", "a" }, { "set", "a", 1 }, { "lpush", "a", 1 }, { "llen", "a" }, { "get_keys" },
      { "capacity" }, { "incr", "a", 1 })
    for _, name in ipairs { "udp", "dict", "bind", "error" } do
      tcp[1] = real[name]
      for _, call in ipairs { { "sslhandshake" }, { "getoption", "keepalive" }, { "setoption", "keepalive", 1 } } do
        local ok, why = tcp[call[1]](tcp, unpack(call, 2))
        if ok or why ~= "closed" then
          said[#said + 1] = call[1] .. " of " .. name .. ": " .. tostring(why)
        end
      end
    end
    tcp[1] = real.tcp
    -- nor is one that waits for its next life
    assert(tcp:setkeepalive(1000))
    tcp[1] = real.tcp
    said[#said + 1] = select(2, pcall(tcp.send, tcp, "x"))
    local other = ngx.socket.tcp()
    other[8] = real.dict
    assert(other:connect("127.0.0.1", port))
    assert(other:send("on\\n"))
    said[#said + 1] = other:receive()
    dict:set("a", "kept")
    said[#said + 1] = dict:get("a")
    return said`);
  t.same(said, ['bad socket object: what it holds at [1] is not its own', 'on', 'kept']);
  // a coroutine that waits holds its socket
  const ended = await lua.eval<Promise<string>>(`
    local tcp, udp = ngx.socket.tcp(), ngx.socket.udp()
    assert(tcp:connect("127.0.0.1", port))
    assert(udp:setpeername("127.0.0.1", port))
    local threads = {}
    local until_x = tcp:receiveuntil("x")
    for i, wait in ipairs { function() return until_x() end, function() return udp:receive() end } do
      threads[i] = ngx.thread.spawn(wait)
    end
    tcp[1], udp[1] = nil, nil
    for i = 1, 5 do collectgarbage() end
    local filler = {}
    for i = 1, 5000 do filler[i] = ("A"):rep(100 + i % 700) .. i end
    for i, thread in ipairs(threads) do assert(ngx.thread.kill(thread)) end
    return "ended"`);
  t.equal(ended, 'ended');
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

t.test('many calls wait with one AbortSignal', async (t) => {
  const lua = new LuaVM();
  t.teardown(() => lua.close());
  const warnings: string[] = [];
  const warned = (warning: Error): unknown => warnings.push(warning.name);
  process.on('warning', warned);
  t.teardown(() => process.off('warning', warned));
  const { signal } = new AbortController();
  await Promise.all(
    Array.from({ length: 15 }, () => lua.eval<Promise<void>>('ngx.sleep(0.001)', { signal })),
  );
  t.equal(getEventListeners(signal, 'abort').length, 0);
  const controller = new AbortController();
  const calls = Array.from({ length: 15 }, () =>
    lua.eval<Promise<void>>('ngx.sleep(100)', { signal: controller.signal }),
  );
  t.equal(getEventListeners(controller.signal, 'abort').length, 1);
  controller.abort(new Error('enough'));
  for (const call of calls) await t.rejects(call, { message: 'enough' });
  await new Promise(setImmediate);
  t.same(warnings, []);
});

t.test('what is like a promise is waited for', async (t) => {
  class Query {
    then(done: (value: unknown) => void): void {
      setTimeout(done, 1, { rows: 3 });
    }
  }
  const fail = { then: (_: unknown, failed: (error: Error) => void) => failed(new Error('no')) };
  const getter = {
    get then(): unknown {
      throw new Error('then');
    },
  };
  const lua = new LuaVM({
    globals: {
      query: () => new Query(),
      inner: () => Object.assign(() => 1, { then: (done: (n: number) => void) => done(4) }),
      fail: () => fail,
      getter: () => getter,
      text: () => ({ then: 'text' }),
      same: (x: unknown) => x,
    },
  });
  t.teardown(() => lua.close());
  t.equal(await lua.eval('return query().rows'), 3);
  t.equal(await lua.eval('return inner()'), 4, 'a function');
  await t.rejects(async () => lua.eval('fail()'), { message: 'no' });
  await t.rejects(async () => lua.eval('getter()'), { message: 'then' });
  t.equal(lua.eval('return text()["then"]'), 'text', 'no function: copied at once');
  t.equal(lua.eval('return same(function() return 1 end)()'), 1);
  (globalThis as { query?: Query }).query = new Query();
  t.teardown(() => delete (globalThis as { query?: Query }).query);
  const code = 'local js = require "js" return js.await(js.global.query).rows';
  t.equal(await lua.eval(code), 3);
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
  t.throws(() => run('js.import(5)'), {
    message: /: bad argument #1 to 'import' \(string expected, got number\)$/,
  });
  await t.rejects(async () => run('js.import("no-such-package")'), { message: /no-such-package/ });
  lua.close();
});
