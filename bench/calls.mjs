#!/usr/bin/env node
// Calls between TypeScript and Lua: a LuaVM beside wasmoon and fengari, in turn in one process, each doing the same.
//   node bench/calls.mjs [--ms=300] [--rounds=5] [--json=FILE]
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { LuaVM } from '../dist/index.js';
import { number, options } from './options.mjs';

const ms = number('ms', 300);
const rounds = number('rounds', 5);
const object = (name) =>
  JSON.parse(fs.readFileSync(fileURLToPath(new URL(`objects/${name}.json`, import.meta.url))));
const flat = object('flat');
const nested = object('nested');

/** Nanoseconds of CPU per call: of this process, so that other work on the machine does not count. */
function measure(batch) {
  let n = 0;
  const before = process.cpuUsage();
  const end = performance.now() + ms;
  while (performance.now() < end) n += batch();
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1000) / n;
}

async function measureAsync(batch) {
  let n = 0;
  const before = process.cpuUsage();
  const end = performance.now() + ms;
  while (performance.now() < end) n += await batch();
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1000) / n;
}

const times = (count, work) => () => {
  for (let i = 0; i < count; i++) work(i);
  return count;
};

const ADD = 'return function(a, b) return a + b end';
const SAME = 'return function(x) return x end';

function moonphase() {
  const lua = new LuaVM({ globals: { host: () => Promise.resolve(1) } });
  const add = lua.eval(ADD);
  const same = lua.eval(SAME);
  const loop = lua.eval('return function(n) for i = 1, n do host() end return n end');
  return {
    add: times(1000, (i) => add(i, 2)),
    flat: times(20, () => same(flat)),
    nested: times(20, () => same(nested)),
    check: () => [add(1, 2), same(flat), same(nested)],
    await: () => loop(1000),
  };
}

/** By default wasmoon lets Lua have a reference to the object, and copies nothing; without proxies it makes tables. */
async function wasmoon(enableProxy) {
  const { LuaFactory } = await import('wasmoon');
  const lua = await new LuaFactory().createEngine({ enableProxy });
  const add = await lua.doString(ADD);
  const same = await lua.doString(SAME);
  return {
    add: times(1000, (i) => add(i, 2)),
    flat: times(20, () => same(flat)),
    nested: times(20, () => same(nested)),
    check: () => [add(1, 2), same(flat), same(nested)],
  };
}

async function fengari() {
  const { lua, lauxlib, lualib, to_luastring: text } = (await import('fengari')).default;
  const L = lauxlib.luaL_newstate();
  lualib.luaL_openlibs(L);
  if (lauxlib.luaL_dostring(L, text(ADD)) !== 0) throw new Error('fengari');
  const ref = lauxlib.luaL_ref(L, lua.LUA_REGISTRYINDEX);
  const add = (a, b) => {
    lua.lua_rawgeti(L, lua.LUA_REGISTRYINDEX, ref);
    lua.lua_pushnumber(L, a);
    lua.lua_pushnumber(L, b);
    lua.lua_call(L, 2, 1);
    const result = lua.lua_tonumber(L, -1);
    lua.lua_pop(L, 1);
    return result;
  };
  return { add: times(1000, (i) => add(i, 2)), check: () => [add(1, 2)] };
}

const bare = async () => {
  for (let i = 0; i < 1000; i++) await Promise.resolve(1);
  return 1000;
};

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const peers = {
  moonphase: moonphase(),
  wasmoon: await wasmoon(false),
  'wasmoon, by reference': await wasmoon(true),
  fengari: await fengari(),
};
for (const [name, peer] of Object.entries(peers)) {
  const [sum, ...objects] = peer.check();
  const wrong = sum !== 3 || objects.some((o, i) => o.id !== [flat, nested][i].id);
  if (wrong) throw new Error(`${name} computes something else`);
}
const results = {};
const note = (what, who, value) => ((results[what] ??= {})[who] ??= []).push(value);
for (let round = 0; round < rounds; round++) {
  for (const what of ['add', 'flat', 'nested']) {
    for (const [who, peer] of Object.entries(peers)) {
      if (peer[what] !== undefined) note(what, who, measure(peer[what]));
    }
  }
  note('await', 'bare', await measureAsync(bare));
  note('await', 'moonphase', await measureAsync(peers.moonphase.await));
}
const summary = {};
for (const [what, of] of Object.entries(results)) {
  summary[what] = Object.fromEntries(
    Object.entries(of).map(([who, list]) => [who, Math.round(median(list) * 10) / 10]),
  );
}
const ratio = (what, who) => summary[what][who] / summary[what].moonphase;
const bars = [
  ['two numbers, million calls a second', 1000 / summary.add.moonphase, 5],
  ['two numbers, times wasmoon', ratio('add', 'wasmoon'), 15],
  ['two numbers, times fengari', ratio('add', 'fengari'), 4],
  ['flat object there and back, times wasmoon', ratio('flat', 'wasmoon'), 5],
  ['nested object there and back, times wasmoon', ratio('nested', 'wasmoon'), 2],
  [
    'awaiting a host promise, µs over a bare await',
    (summary.await.moonphase - summary.await.bare) / 1000,
    2,
    'at most',
  ],
];
console.log('ns of CPU per call, the median of', rounds, 'rounds:');
console.table(summary);
for (const [what, value, bar, most] of bars) {
  const met = most ? value <= bar : value >= bar;
  console.log(
    `${met ? 'met   ' : 'MISSED'} ${what}: ${value.toFixed(2)} (${most ?? 'at least'} ${bar})`,
  );
}
if (options.json) fs.writeFileSync(options.json, JSON.stringify({ summary, bars }, null, 2));
process.exit(0);
