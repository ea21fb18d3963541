// Objects that go into Lua and come back: in one go where they are plain (native/bind/codec.h), property by property
// where they are not.
import t from 'tap';
import { LuaVM } from '../../lib/index.js';

const lua = new LuaVM();
const same = lua.eval<(value: unknown) => unknown>('return function(x) return x end');

t.test('there and back', async (t) => {
  for (const value of [
    {},
    { a: 1, b: -0.5, c: NaN, d: Infinity },
    { list: [1, 2, { deep: 'x'.repeat(50) }], none: null, yes: true, no: false, empty: {} },
    { short: 'text', umlaut: 'täxt', long: 'ü'.repeat(5000), nul: 'a\0b', pair: '\u{1f319}' },
    { o: { a: { b: { c: [[[1]]] } } } },
    { ['k'.repeat(100)]: 1, ä: 2, 7: 'a number', 'a"b\\': 3 },
    { big: 5n, bytes: Buffer.from([255]) },
    Array.from({ length: 30_000 }, (_, i) => i),
    Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`key ${i}`, i])),
    ['a', 'b'],
  ]) {
    t.same(same(value), value);
  }
  t.same(same({ a: undefined, b: [1, undefined, 3] }), { b: [1, undefined, 3] });
  t.same(same({ m: new Map([['x', 1]]) }), { m: { x: 1 } });
  t.same(lua.eval('return { 1, 2, x = 1 }'), { 1: 1, 2: 2, x: 1 });
  t.same(lua.eval('return { x = { [3] = 1 } }'), { x: { 3: 1 } });
  t.equal(lua.eval('return (...).a.b', { args: [{ a: { b: 'in' } }] }), 'in');
});

t.test('what runs meanwhile', async (t) => {
  const getter = {
    get a() {
      return (same({ z: 1 }) as { z: number }).z;
    },
    b: 2,
  };
  t.same(same(getter), { a: 1, b: 2 }, 'a getter calls Lua');
  const thrower = {
    get a(): number {
      throw new Error('mine');
    },
  };
  t.throws(() => same(thrower), { code: 'ERR_MOONPHASE_VALUE', message: /: Error: mine$/ });
  t.same(same({ fine: 1 }), { fine: 1 });
});

t.test('names beyond number', async (t) => {
  for (let i = 0; i < 6000; i++) {
    const value = { [`name ${i}`]: i };
    if (JSON.stringify(same(value)) !== JSON.stringify(value)) t.fail(`name ${i}`);
  }
  const other = new LuaVM();
  t.same(other.eval('return ...', { args: [{ 'name 5999': { 'name 7': 1 } }] }), {
    'name 5999': { 'name 7': 1 },
  });
  other.close();
});

t.test('what no table can be', async (t) => {
  for (const value of [new Set([1]), /x/, new WeakMap(), new URL('http://a/'), new Date()])
    t.throws(() => same(value), {
      code: 'ERR_MOONPHASE_VALUE',
      message: /cannot be passed to Lua/,
    });
  const lua = new LuaVM();
  lua.setGlobal('reject', () => Promise.reject(Symbol('mine')));
  t.equal(await lua.eval('return tostring(select(2, pcall(reject)))'), 'Error: a symbol');
  lua.close();
});

t.test('__proto__ is a key like any other', async (t) => {
  const lua = new LuaVM();
  for (const code of [
    'return { __proto__ = { a = 1 } }',
    'return { __proto__ = { a = 1 }, f = print }',
  ]) {
    const object = lua.eval<Record<string, unknown>>(code);
    t.equal(Object.getPrototypeOf(object), Object.prototype);
    t.same(Object.getOwnPropertyDescriptor(object, '__proto__')?.value, { a: 1 });
    t.equal(object['a'], undefined);
  }
  lua.close();
});

t.test('options', async (t) => {
  const lua = new LuaVM();
  const refused = (work: () => unknown, message: string): void =>
    void t.throws(work, { code: 'ERR_MOONPHASE_OPTION', message });
  refused(() => lua.eval('', { nme: 'x' } as never), 'eval has no option "nme"');
  refused(() => lua.eval('', null as never), 'eval takes an object of options, not null');
  refused(() => lua.eval('', { args: 5 as never }), 'args is an array, not 5');
  refused(() => lua.load('', { signal: {} as never }), 'signal is an AbortSignal, not object');
  refused(() => lua.withSignal(() => 1, 5 as never), 'signal is an AbortSignal, not 5');
  t.throws(() => lua.call(lua.eval<object>('return {}', { live: true }), 'x'), {
    message: "there is no method 'x'",
  });
  lua.close();
});
