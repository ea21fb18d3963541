#!/usr/bin/env node
// Part of npm run soak: cosockets whose peers misbehave (test/lifetime/faults), every case so many rounds, in two halves.
// What they answer has to be what is documented, within its timeout; afterwards there are as many descriptors as before,
// and the second half does not need more memory than the first.
//   node bench/faults.mjs [--rounds=10000] [--clients=64] [--only=TEXT]
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { startPeers } from '../test/lifetime/faults/peers.mjs';
import * as faults from '../test/lifetime/faults/run.mjs';
import { number, options, root } from './options.mjs';
import { freePort, makePrefix } from './place.mjs';

const rounds = number('rounds', 10_000);
const clients = number('clients', 64);
const dir = makePrefix('faults');
const peers = await startPeers(dir);
const port = await freePort();
fs.writeFileSync(
  path.join(dir, 'conf/nginx.conf'),
  `user root;
daemon off;
master_process off;
pid logs/nginx.pid;
error_log logs/error.log warn;
events { worker_connections 4096; }
http { ${faults.faultsHttp(port, peers)} }
`,
);
const child = spawn(path.join(root, 'bin/moonphase-nginx'), ['-p', `${dir}/`], {
  stdio: 'inherit',
});
const exited = new Promise((done) => child.once('exit', done));
const ready = async () => {
  for (let i = 0; i < 100; ++i) {
    const list = await faults.listCases(port).catch(() => undefined);
    if (list) return list;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`the server does not answer; its log is in ${dir}/logs`);
};
const tests = (await ready()).filter((test) => test.name.includes(options.only ?? ''));
await faults.stuck(port);

process.on('exit', () => child.kill('SIGKILL'));
let failed = 0;
let total = 0;
/** Half of the rounds of each case; answers what the server holds then. */
async function half(kind) {
  for (const test of tests) {
    const begun = Date.now();
    const before = await faults.holds(port, child.pid);
    // What moves megabytes, or a byte at a time, has fewer.
    const n = Math.ceil(rounds / (test.heavy ? 100 : 2));
    const done = await faults.runCase(port, peers, test, n, test.heavy ? 4 : clients);
    const after = await faults.settled(port, child.pid, before.fds);
    total += done.rounds;
    const wrong = done.wrong.map((text) => `answers "${text}"`);
    if (after.fds > before.fds) wrong.push(`${after.fds - before.fds} descriptors are left`);
    failed += wrong.length;
    const seconds = ((Date.now() - begun) / 1000).toFixed(1);
    console.log(
      `${kind} ${test.name.padEnd(44)}${String(done.rounds).padStart(6)} rounds in ${seconds.padStart(5)} s, ` +
        `longest ${done.longest} ms${wrong.map((text) => `\n     ${text}`).join('')}`,
    );
  }
  return faults.holds(port, child.pid);
}
const held = [await faults.holds(port, child.pid)];
held.push(await half('1st'));
const between = total;
held.push(await half('2nd'));
child.kill('SIGTERM');
peers.stop();
const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
const code = await exited;
clearTimeout(timer);
if (code !== 0) {
  console.log(`the server ended with ${code}; its log is in ${dir}/logs`);
  ++failed;
}
const list = (name) => held.map((h) => Math.round(h[name])).join(', ');
console.log(
  `${total} rounds of ${tests.length} cases. Before, between, after: ${list('fds')} descriptors, ` +
    `${list('rss')} KB resident, ${list('lua')} KB of Lua`,
);
const bytes = ((held[2].rss - held[1].rss) * 1024) / (total - between);
// A record that leaks is larger; small runs measure the allocator's pages.
if (bytes > 16 && held[2].rss - held[1].rss > 4096) {
  console.log(`the second half took ${Math.round(bytes)} bytes a round`);
  ++failed;
}
if (held[2].lua - held[1].lua > 256) {
  console.log("Lua's heap has grown");
  ++failed;
}
if (failed) process.exitCode = 1;
else fs.rmSync(dir, { recursive: true, force: true });
