#!/usr/bin/env node
// What rewrite, access and log handlers in Lua cost a route of Node's own http server: CPU time per request of the
// server's process (all of its threads, collecting garbage included), pinned to one core, without them and with them.
// Rounds are short and many, and who comes first alternates: what else the machine does then hits both alike.
//   node bench/middleware.mjs [--rounds=41] [--requests=8000] [--warmup=60000] [--limit=3]
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { number } from './options.mjs';
import { freePort } from './place.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const rounds = number('rounds', 41);
const requests = number('requests', 8000);
const warmup = number('warmup', 60_000); // the JIT's turn
const limit = number('limit', 3);
const work = fs.mkdtempSync(path.join(os.tmpdir(), 'moonphase-bench-'));
const load = path.join(work, 'load');
execFileSync('g++', ['-O2', '-std=c++20', path.join(here, 'load/load.cc'), '-o', load]);

const cpus = os.availableParallelism();
const pin = (cpu, command) => (cpus > 1 ? ['taskset', '-c', String(cpu), ...command] : command);
const request =
  'GET /hello HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n' +
  'Accept-Encoding: gzip\r\nX-Request-Id: 0123456789abcdef\r\n\r\n';

async function start(kind) {
  const port = await freePort();
  const [command, ...args] = pin(0, [
    process.execPath,
    path.join(here, 'middleware-server.mjs'),
    String(port),
    kind,
  ]);
  const child = spawn(command, args, { stdio: 'inherit' });
  for (let i = 0; i < 100; i++) {
    try {
      await (await fetch(`http://127.0.0.1:${port}/hello`)).text();
      return { kind, port, child };
    } catch {
      await new Promise((done) => setTimeout(done, 100));
    }
  }
  throw new Error(`the ${kind} server does not answer`);
}

function cpuSeconds(pid) {
  let total = 0;
  for (const task of fs.readdirSync(`/proc/${pid}/task`))
    total += Number(fs.readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
  return total / 1e9;
}

function measure({ port, child }, count = requests) {
  const before = cpuSeconds(child.pid);
  const [command, ...args] = pin(1, [load, '127.0.0.1', String(port), '32', String(count), '1']);
  const out = execFileSync(command, args, { input: request, encoding: 'utf8', timeout: 300_000 });
  const [answers] = out.trim().split(' ').map(Number);
  return ((cpuSeconds(child.pid) - before) / answers) * 1e6;
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

const servers = [await start('plain'), await start('lua')];
const added = [];
const figures = { plain: [], lua: [] };
try {
  for (const server of servers) measure(server, warmup);
  for (let round = 0; round < rounds; round++) {
    for (const server of round % 2 ? [...servers].reverse() : servers) {
      figures[server.kind].push(measure(server));
    }
    added.push(figures.lua[round] - figures.plain[round]);
  }
} finally {
  for (const { child } of servers) child.kill('SIGTERM');
  fs.rmSync(work, { recursive: true, force: true });
}
console.log(`plain http        ${median(figures.plain).toFixed(2)} µs CPU per request`);
console.log(`with Lua phases   ${median(figures.lua).toFixed(2)}`);
console.log(`added             ${median(added).toFixed(2)} (bar: ${limit})`);
process.exitCode = median(added) <= limit ? 0 : 1;
