#!/usr/bin/env node
// npm run soak: test/lifetime at full size. Clients come and go at every place where a request can wait, the configuration
// is read again and again, workers are killed; every so often it says how much memory and how many descriptors there are.
// Before that, the shared memory tests at full size: a thousand killed processes, twelve million random operations compared
// with a model.
//   node bench/soak.mjs [--minutes=10] [--clients=64] [--workers=2] [--only=shm|server] [--extended]
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import * as scenarios from '../test/lifetime/scenarios.mjs';
import { number, options, root } from './options.mjs';
import { freePort, makePrefix } from './place.mjs';

const { get, leave } = scenarios;
const extended = 'extended' in options; // lua_phase_capabilities extended
const http = extended ? scenarios.extendedHttp : scenarios.http;
const places = extended ? scenarios.extendedPlaces : scenarios.places;
const minutes = number('minutes', 10);
const count = number('clients', 64);
const workers = number('workers', 2);

if (options.only !== 'server') {
  for (const [mode, test, scale] of [
    ['plain', 'kill_minus_nine', 7],
    ['plain', 'model', 10],
    ['thread', 'thread', 1],
    ['thread', 'lanes', 1],
  ]) {
    const done = spawnSync('sh', [path.join(root, 'test/native/shm_run.sh'), mode, test], {
      env: { ...process.env, SHM_TEST_SCALE: String(scale) },
      stdio: 'inherit',
    });
    if (done.status !== 0) process.exit(1);
  }
}
if (options.only === 'shm') process.exit(0);

const dir = makePrefix('soak');
const port = await freePort();
fs.writeFileSync(
  path.join(dir, 'conf/nginx.conf'),
  `user root;
worker_processes ${workers};
daemon off;
pid logs/nginx.pid;
error_log logs/error.log notice;
events { worker_connections 4096; }
http { ${http.replaceAll('$port', String(port))} }
`,
);
const child = spawn(path.join(root, 'bin/moonphase-nginx'), ['-p', `${dir}/`], {
  stdio: 'inherit',
});
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
let failed = false;
let expected = true;
child.once('exit', (code) => {
  if (expected) {
    failed = true;
    console.error(`the server ended by itself, exit code ${code}; its log is in ${dir}/logs`);
  }
});
for (let i = 0; i < 100 && !(await get(port, '/ok')); ++i) await sleep(100);

const pids = () =>
  fs
    .readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')
    .split(' ')
    .filter(Boolean)
    .map(Number);
const megabytes = (pid) =>
  Math.round(
    Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024,
  );
const descriptors = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;
const pick = (list) => list[Math.floor(Math.random() * list.length)];

const end = Date.now() + minutes * 60_000;
let left = 0;
let answered = 0;
let lost = 0;
let killing = 0;
const clients = Array.from({ length: count }, async (_, i) => {
  while (Date.now() < end && !failed) {
    if (i % 4) {
      await leave(port, pick(places), Math.random() * 200, Math.random() < 0.5);
      ++left;
    } else if (await get(port, pick(['/ok', '/sleep', '/thread', '/subrequest']))) {
      ++answered;
    } else if (Date.now() > killing + 3000) {
      ++lost;
    }
  }
});
const operator = (async () => {
  for (let i = 1; Date.now() < end && !failed; ++i) {
    await sleep(Math.min(5000, Math.max(0, end - Date.now())));
    child.kill(i % 7 ? 'SIGHUP' : 'SIGUSR1');
    if (i % 11 === 0) {
      killing = Date.now();
      process.kill(pick(pids()), 'SIGKILL');
    }
    if (i % 6 === 0) {
      await sleep(1000);
      const state = pids().map((pid) => `${megabytes(pid)} MB, ${descriptors(pid)} descriptors`);
      console.log(`${answered} answered, ${left} gone, ${lost} lost; workers: ${state.join('; ')}`);
    }
  }
})();
await Promise.all([...clients, operator]);
expected = false;
const ended = new Promise((done) => child.once('exit', done));
child.kill('SIGQUIT');
const code = failed ? 1 : await Promise.race([ended, sleep(15000).then(() => 'none within 15 s')]);
if (code !== 0) child.kill('SIGKILL');
const log = fs.readFileSync(path.join(dir, 'logs/error.log'), 'latin1');
const alarms = log
  .split('\n')
  .filter(
    (line) =>
      /\[(alert|emerg|crit|error)\]/.test(line) && !/exited on signal 9|on purpose/.test(line),
  );
console.log(
  `${answered} answered, ${left} gone, ${lost} lost, exit code ${code}, ${alarms.length} alarms`,
);
for (const line of alarms.slice(0, 20)) console.log(line);
if (failed || lost || code !== 0 || alarms.length) {
  console.log(`the log is in ${dir}/logs`);
  process.exitCode = 1;
} else {
  fs.rmSync(dir, { recursive: true, force: true });
}
