import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { LuaError, LuaVM, MoonphaseError } from '../../lib/index.js';
import { root } from '../helpers/server.js';

t.test('values there and back', async (t) => {
  const lua = new LuaVM();
  t.teardown(() => lua.close());
  const same = lua.load('return ...');
  for (const value of [
    true,
    false,
    0,
    -1.5,
    2 ** 53,
    'text',
    'täxt 月',
    '\0',
    null,
    undefined,
    [1, 'two', [3]],
    [null, false],
    { a: 1, b: { c: ['d'] } },
    12345678901234567n,
    -1n,
    2n ** 64n - 1n,
  ]) {
    t.same(same(value as never), value);
  }
  t.same(same(Buffer.from([0xff, 0xfe])), Buffer.from([0xff, 0xfe]), 'bytes that are no text');
  t.equal(same(Buffer.from('abc')), 'abc', 'bytes that are text');
  t.equal(same(new Uint8Array([97])), 'a');
  t.same(same({ a: undefined, b: 1 }), { b: 1 });
  t.same(
    same(
      new Map<unknown, unknown>([
        [1, 'a'],
        ['k', new Map([[2, 'b']])],
      ]),
    ),
    {
      1: 'a',
      k: { 2: 'b' },
    },
  );
  t.ok(Number.isNaN(same(NaN)));
  t.same(same([]), {}, 'Lua has one empty table');
  t.equal(same('x'.repeat(100_000)), 'x'.repeat(100_000));
  t.equal(same(`${'x'.repeat(1021)}月`), `${'x'.repeat(1021)}月`);
  const fn = (): number => 1;
  t.equal(same(fn as never), fn, 'a function is itself');
});

t.test('Lua decides what a table is', async (t) => {
  const lua = new LuaVM();
  t.teardown(() => lua.close());
  t.same(lua.eval('return {1, 2, nil, 4}'), [1, 2, undefined, 4]);
  t.same(lua.eval('return {[1]="a", [2]="b"}'), ['a', 'b']);
  t.same(lua.eval('return {[2]="b"}'), { 2: 'b' });
  t.same(lua.eval('return {1, x=2}'), { 1: 1, x: 2 });
  t.same(lua.eval('return 1, nil, "x"', { all: true }), [1, undefined, 'x']);
  t.same(lua.eval('return', { all: true }), []);
  t.equal(lua.eval('return ngx.null'), null);
  t.equal(lua.eval('return require("cjson").null'), null);
});

t.test('what has no counterpart is refused in words', async (t) => {
  const lua = new LuaVM();
  t.teardown(() => lua.close());
  const same = lua.load('return ...');
  const cyclic: Record<string, unknown> = {};
  cyclic['self'] = cyclic;
  let deep: unknown = 1;
  for (let i = 0; i < 200; i++) deep = [deep];
  const cases: [unknown, RegExp][] = [
    [Symbol('x'), /argument 1: a symbol cannot be passed to Lua/],
    [cyclic, /argument 1: the value contains itself/],
    [deep, /is nested in more than 100 levels/],
    [new Date(), /a Date cannot be passed/],
    [Promise.resolve(1), /a promise cannot be passed to Lua: await it first/],
    [2n ** 70n, /more than 64 bits/],
    [
      {
        get a(): number {
          throw new Error('no');
        },
      },
      /property could not be read/,
    ],
  ];
  for (const [value, message] of cases) t.throws(() => same(value), { message });
  t.throws(() => lua.eval('local t = {} t[1] = {t} return t'), {
    message: /the table contains itself/,
  });
  t.throws(() => lua.eval('return coroutine.create(function() end)'), {
    message: /a coroutine cannot be passed/,
  });
  t.throws(() => lua.eval('return io.stdout'), { message: /a userdata cannot be passed/ });
  t.throws(() => lua.eval('return {[true]=1}'), { message: /neither string nor number/ });
  t.equal(lua.eval('return 1'), 1, 'and the VM goes on');
});

t.test('strings as the option says', async (t) => {
  const latin1 = new LuaVM({ strings: 'latin1' });
  const buffer = new LuaVM({ strings: 'buffer' });
  t.teardown(() => [latin1, buffer].forEach((vm) => vm.close()));
  t.equal(latin1.eval('return "\\255a"'), '\xffa');
  t.same(buffer.eval('return "a"'), Buffer.from('a'));
});

t.test('a call that yields is a promise, one that does not is none', async (t) => {
  const lua = new LuaVM({
    globals: {
      now: () => 7,
      later: async (n: number) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        return n * 2;
      },
    },
  });
  t.teardown(() => lua.close());
  t.equal(lua.eval('return now()'), 7);
  const promise = lua.eval<Promise<number>>('return later(21) + later(4)');
  t.ok(promise instanceof Promise);
  t.equal(await promise, 50);
  const order: number[] = [];
  await Promise.all(
    [30, 10, 20].map(async (ms) => {
      await lua.eval('ngx.sleep((...) / 1000)', { args: [ms] });
      order.push(ms);
    }),
  );
  t.same(order, [10, 20, 30], 'calls run side by side');
  t.same(await lua.eval('ngx.sleep(0) return 1, 2', { all: true }), [1, 2]);
});

t.test('light threads, timers and coroutines', async (t) => {
  const heard: unknown[] = [];
  const lua = new LuaVM({ globals: { hear: (x: unknown) => void heard.push(x) } });
  t.teardown(() => lua.close());
  t.same(
    await lua.eval(
      `local t = ngx.thread.spawn(function() ngx.sleep(0.005) return "thread" end)
       local ok, a = ngx.thread.wait(t)
       local b = coroutine.wrap(function() coroutine.yield("co") end)()
       return a, b`,
      { all: true },
    ),
    ['thread', 'co'],
  );
  lua.eval('ngx.timer.at(0.005, function(premature) hear(premature) end)');
  await new Promise((resolve) => setTimeout(resolve, 60));
  t.same(heard, [false]);
});

t.test('functions by reference', async (t) => {
  const lua = new LuaVM();
  t.teardown(() => lua.close());
  const counter = lua.eval<() => number>('local n = 0 return function() n = n + 1 return n end');
  t.equal(counter(), 1);
  t.equal(counter(), 2);
  const apply = lua.load<(f: (n: number) => unknown, n: number) => unknown>(
    'local f, n = ... return f(n)',
  );
  t.equal(
    apply((n) => n + 1, 41),
    42,
  );
  t.equal(apply(counter as never, 0), 3, 'a Lua function goes home as itself');
  t.equal(
    apply((n) => apply((m) => m * 2, n), 4),
    8,
    'in and out',
  );
  const both = lua.all(lua.eval<() => unknown>('return function() return "a", "b" end'));
  t.same(both(), ['a', 'b']);
});

t.test('modules are live', async (t) => {
  const dir = t.testdir({
    'users.lua': `
      local M = { count = 0, names = { 'ann' } }
      M.__index = M
      function M.get(id) M.count = M.count + 1 return { id = id, name = M.names[id] } end
      function M.new(name) return setmetatable({ name = name }, M) end
      function M:hello(other) return self.name .. ' says hello to ' .. other end
      return M`,
  });
  const lua = new LuaVM({ packagePath: `${dir}/?.lua;;` });
  t.teardown(() => lua.close());
  interface Users {
    count: number;
    names: string[];
    get: (id: number) => { id: number; name: string };
    new: (name: string) => { name: string };
  }
  const users = lua.require<Users>('users');
  t.same(users.get(1), { id: 1, name: 'ann' });
  t.equal(users.count, 1, 'what Lua changed is seen');
  users.count = 10;
  users.get(1);
  t.equal(users.count, 11, 'what JavaScript changed is used');
  const ann = users.new('ann');
  t.equal(ann.name, 'ann');
  t.equal(lua.call(ann, 'hello', 'bob'), 'ann says hello to bob');
  t.ok('get' in users);
  t.ok(Object.keys(users).includes('names'));
  t.throws(() => lua.require('no.such.module'), { message: /module 'no\.such\.module' not found/ });
});

t.test('errors of Lua in JavaScript', async (t) => {
  const lua = new LuaVM();
  t.teardown(() => lua.close());
  try {
    lua.eval('local function inner() error("kaputt") end\ninner()', { name: '@app.lua' });
    t.fail('no error');
  } catch (error) {
    t.ok(error instanceof LuaError && error instanceof MoonphaseError);
    const e = error as LuaError;
    t.equal(e.message, 'app.lua:1: kaputt');
    t.equal(e.code, 'ERR_MOONPHASE_LUA');
    t.match(e.luaStack, /app\.lua:1: in function 'inner'/);
    t.match(
      e.stack,
      /^LuaError: app\.lua:1: kaputt\n {4}at .*\n {4}at inner \(app\.lua:1\)\n {4}at main chunk \(app\.lua:2\)/,
    );
    t.match(e.stack, /luavm\.test\.ts/, 'then come the frames of JavaScript');
  }
  t.throws(() => lua.eval('error({ code = 7 })'), { luaValue: { code: 7 } });
  t.throws(() => lua.eval('error({ message = "boom", code = 7 })'), {
    message: 'boom',
    luaValue: { message: 'boom', code: 7 },
  });
  const named = (what: string): string =>
    `error(setmetatable({}, { __tostring = function() ${what} end }))`;
  t.throws(() => lua.eval(named('return "named"')), { message: 'named' });
  await t.rejects(lua.eval<Promise<unknown>>(`ngx.sleep(0) ${named('return "later"')}`), {
    message: 'later',
  });
  for (const code of [named('error("x")'), named('return {}'), 'error({})'])
    t.throws(() => lua.eval(code), { message: 'an error object (a table value)' }, code);
  t.throws(() => lua.eval('this is no Lua', { name: '@x.lua' }), {
    message: /^x\.lua:1: '=' expected near 'is'/,
  });
  await t.rejects(lua.eval<Promise<unknown>>('ngx.sleep(0) error("later")'), {
    message: '(eval):1: later',
  });
  t.throws(() => lua.eval('ngx.exit(0)'), { code: 'ERR_MOONPHASE_EXIT' });
});

t.test('errors of JavaScript in Lua', async (t) => {
  class Own extends TypeError {
    readonly code = 'E_OWN';
  }
  const thrown = new Own('no way');
  const lua = new LuaVM({
    globals: {
      fail: () => {
        throw thrown;
      },
      reject: async () => {
        throw thrown;
      },
      odd: () => {
        throw 'a string';
      },
    },
  });
  t.teardown(() => lua.close());
  t.same(
    lua.eval('local ok, e = pcall(fail) return ok, tostring(e), e.message, e.code, "x: " .. e', {
      all: true,
    }),
    [false, 'TypeError: no way', 'no way', 'E_OWN', 'x: TypeError: no way'],
  );
  t.same(await lua.eval('local ok, e = pcall(reject) return ok, e.message', { all: true }), [
    false,
    'no way',
  ]);
  t.equal(lua.eval('local _, e = pcall(odd) return e.message'), 'a string');
  for (const code of ['fail()', 'local ok, e = pcall(fail) error(e)']) {
    try {
      lua.eval(code);
      t.fail('no error');
    } catch (error) {
      t.equal(error, thrown, 'it comes out as itself');
    }
  }
  await t.rejects(lua.eval<Promise<unknown>>('reject()'), thrown);
  const pass = lua.load<(f: () => void) => unknown>('local ok, e = pcall(...) return e');
  t.match(
    pass(() => lua.eval('error("from Lua", 0)')),
    'from Lua',
    "Lua's own error is a string again",
  );
});

t.test('Lua waits only where it can', async (t) => {
  const lua = new LuaVM({ globals: { later: async () => 1 } });
  t.teardown(() => lua.close());
  t.throws(() => lua.eval('return string.gsub("a", "a", later)'), {
    message: /returned a promise where Lua cannot wait: attempt to yield across C-call boundary/,
  });
});

t.test('shared dictionaries', async (t) => {
  const a = new LuaVM({ sharedDicts: { cats: '1m' } });
  const b = new LuaVM({ sharedDicts: { cats: '1m' } });
  t.teardown(() => [a, b].forEach((vm) => vm.close()));
  a.eval('ngx.shared.cats:set("tom", 9)');
  t.equal(b.eval('return ngx.shared.cats:get("tom")'), 9, 'one memory for the process');
  t.throws(() => new LuaVM({ sharedDicts: { tiny: 10 } }), { code: 'ERR_MOONPHASE_OPTION' });
});

t.test('options that are wrong are refused by name', async (t) => {
  const bad: [unknown, RegExp][] = [
    [5, /^LuaVM takes an object of options, not 5/],
    [null, /^LuaVM takes an object of options, not null/],
    [{ foo: 1 }, /^LuaVM has no option "foo"/],
    [{ strings: 'foo' }, /^strings is one of auto, buffer, latin1, not "foo"/],
    [{ globals: 5 }, /^globals is an object, not 5/],
    [{ prefix: 5 }, /^prefix is a string, not 5/],
    [{ lualib: '/nope' }, /^lualib: there is no resty\/core\/base.lua in "\/nope"/],
  ];
  for (const [options, message] of bad) {
    t.throws(() => new LuaVM(options as never), { code: 'ERR_MOONPHASE_OPTION', message });
  }
  const lua = new LuaVM();
  t.teardown(() => lua.close());
  t.throws(() => lua.eval('return 1', { args: 5 as never }), { code: 'ERR_MOONPHASE_OPTION' });
  for (const work of [() => lua.eval('ngx.exit(500)'), () => lua.eval(5 as never)]) {
    try {
      work();
      t.fail('nothing thrown');
    } catch (error) {
      t.ok(error instanceof MoonphaseError, String(error));
    }
  }
});

t.test('a closed VM says so', async (t) => {
  const lua = new LuaVM();
  const f = lua.eval<() => number>('return function() return 1 end');
  t.equal(f(), 1);
  lua.close();
  lua.close();
  t.throws(() => f(), { code: 'ERR_MOONPHASE_CLOSED' });
  t.throws(() => lua.eval('return 1'), { code: 'ERR_MOONPHASE_CLOSED' });
});

t.test('a VM whose start fails leaves nothing behind', (t) => {
  // A lua-resty-core of the right version, which breaks.
  const base = fs.readFileSync(path.join(root, 'lualib/resty/core/base.lua'), 'latin1');
  const lualib = t.testdir({
    resty: {
      core: { 'base.lua': `error("broken")\n${base}` },
      'core.lua': 'require "resty.core.base"',
    },
  });
  for (let i = 0; i < 3; i++) {
    t.throws(() => new LuaVM({ lualib }), { code: 'ERR_MOONPHASE_LUA', message: /broken/ });
  }
  const lua = new LuaVM();
  t.equal(lua.eval('return 1 + 1'), 2);
  lua.close();
  t.end();
});
