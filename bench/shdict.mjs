#!/usr/bin/env node
// Shared dictionaries of Moonphase beside those of Debian's nginx with lua-nginx-module, the same Lua (conf/shdict.lua) in
// both, in turn: operations per CPU second in one worker and of two workers on two cores that use the same keys,
// entries per megabyte.
//   node bench/shdict.mjs [--ms=1000] [--rounds=5] [--only=incr] [--json=FILE]
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { number, options, root } from './options.mjs';

const here = path.join(root, 'bench');
const ms = number('ms', 1000);
const rounds = number('rounds', 5);
const work = fs.mkdtempSync(path.join(os.tmpdir(), 'moonphase-shdict-'));
const sleep = (time) => new Promise((done) => setTimeout(done, time));
let nextPort = 17000 + (process.pid % 1000) * 10;

function config(head, port, workers) {
  return `${head}
user root;
worker_processes ${workers};
${workers === 2 ? 'worker_cpu_affinity 01 10;' : ''}
${process.getuid() === 0 ? 'worker_priority -15;' : ''}
daemon off;
pid nginx.pid;
error_log error.log warn;
events { worker_connections 64; }
http {
  access_log off;
  lua_package_path "${here}/conf/?.lua;;";
  lua_shared_dict control 64k;
  lua_shared_dict box 10m;
  lua_shared_dict megabyte 1m;
  init_worker_by_lua_block { require("shdict").init_worker() }
  server {
    listen 127.0.0.1:${port};
    keepalive_timeout 0;
    location = /start { content_by_lua_block { require("shdict").start() } }
    location = /results { content_by_lua_block { require("shdict").results() } }
    location = /entries { content_by_lua_block { require("shdict").entries() } }
  }
}
`;
}

function modules() {
  const available = '/usr/share/nginx/modules-available';
  return ['mod-http-ndk.conf', 'mod-http-lua.conf']
    .map((file) => fs.readFileSync(path.join(available, file), 'utf8').trim())
    .map((line) => line.replace('modules/', '/usr/lib/nginx/modules/'))
    .join('\n');
}

const programs = {
  moonphase: [path.join(root, 'bin/moonphase-nginx'), ''],
  nginx: ['/usr/sbin/nginx', modules()],
};

async function start(name, workers) {
  const [program, head] = programs[name];
  const dir = fs.mkdtempSync(path.join(work, `${name}-`));
  for (const sub of ['logs', 'body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'])
    fs.mkdirSync(path.join(dir, sub));
  const port = nextPort++;
  fs.writeFileSync(path.join(dir, 'nginx.conf'), config(head, port, workers));
  const args = ['-p', `${dir}/`, '-c', path.join(dir, 'nginx.conf'), '-e', 'error.log'];
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const url = `http://127.0.0.1:${port}`;
  for (let i = 0; ; ++i) {
    try {
      await fetch(`${url}/results?workers=1`);
      break;
    } catch (error) {
      if (i > 200) throw error;
      await sleep(50);
    }
  }
  await sleep(300); // the other worker
  return { child, url, workers };
}

async function stop({ child }) {
  const ended = new Promise((done) => child.once('exit', done));
  child.kill('SIGTERM');
  await ended;
}

/** Operations per CPU second, of all workers. */
async function measure({ url, workers }, op) {
  await fetch(`${url}/start?op=${op}&ms=${ms}`);
  for (let i = 0; i < 600; ++i) {
    await sleep(20 + (i === 0 ? ms : 0));
    const answer = await fetch(`${url}/results?workers=${workers}`);
    const text = await answer.text();
    if (!answer.ok) continue;
    const all = text
      .trim()
      .split('\n')
      .map((line) => line.split(' ').map(Number));
    const sum = (i) => all.reduce((total, row) => total + row[i], 0);
    return { perCpu: sum(0) / sum(1) };
  }
  throw new Error(`no results of ${op} from ${url}`);
}

const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
const million = (n) => `${(n / 1e6).toFixed(2)} M`;
const results = [];
function report(name, unit, ours, theirs, bar) {
  // of the same round: what else the machine does touches both
  const ratio = median(ours.map((n, i) => n / theirs[i]));
  results.push({ name, moonphase: median(ours), nginx: median(theirs), ratio, bar });
  const shown = unit === '' ? String : million;
  console.log(
    `${name.padEnd(34)} ${shown(median(ours)).padStart(9)}${unit} ${shown(median(theirs)).padStart(9)}${unit}` +
      `   ${ratio.toFixed(2)} ×  (bar: ${bar} ×)${ratio < bar ? '  MISSED' : ''}`,
  );
}

async function compare(workers, ops, show) {
  const servers = [await start('moonphase', workers), await start('nginx', workers)];
  try {
    for (const op of ops.filter((name) => !options.only || name === options.only)) {
      const figures = [[], []];
      for (let round = 0; round <= rounds; ++round) {
        for (const [i, server] of servers.entries()) {
          const figure = await measure(server, op);
          if (round > 0) figures[i].push(figure); // the first one warms up
        }
      }
      show(op, ...figures);
    }
    if (workers === 1) {
      const counts = [];
      for (const { url } of servers)
        counts.push([Number(await (await fetch(`${url}/entries`)).text())]);
      report('entries per megabyte', '', ...counts, 0.9);
    }
  } finally {
    for (const server of servers) await stop(server);
  }
}

console.log(`${''.padEnd(34)} ${'Moonphase'.padStart(9)}   ${'nginx'.padStart(9)}`);
await compare(1, ['get', 'set', 'incr'], (op, ours, theirs) => {
  const perCpu = (list) => list.map((f) => f.perCpu);
  report(`${op}, per CPU second`, '/s', perCpu(ours), perCpu(theirs), 1.5);
});
if (os.availableParallelism() > 1) {
  await compare(2, ['get', 'set', 'incr', 'mixed'], (op, ours, theirs) => {
    const perCpu = (list) => list.map((f) => f.perCpu);
    report(`${op}, two workers, per CPU second`, '/s', perCpu(ours), perCpu(theirs), 2);
  });
}
if (options.json) fs.writeFileSync(options.json, `${JSON.stringify(results, undefined, 2)}\n`);
fs.rmSync(work, { recursive: true, force: true });
process.exitCode = results.every(({ ratio, bar }) => ratio >= bar) ? 0 : 1;
