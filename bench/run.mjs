#!/usr/bin/env node
// npm run bench: CPU time per request of Moonphase beside Debian's nginx + lua-nginx-module and Node's own http, in turn,
// server pinned to one core and load to the other. Prints a table with ratios; --json FILE keeps the figures.
//   node bench/run.mjs [--seconds=60] [--rounds=N] [--only=hello,api,pipeline] [--json=FILE]
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { buildLoad, drive, median, nginxModules, pin } from './measure.mjs';
import { number, options, root } from './options.mjs';

const here = path.join(root, 'bench');
const seconds = number('seconds', 60);
const only = options.only?.split(',');
const work = fs.mkdtempSync(path.join(os.tmpdir(), 'moonphase-bench-'));
const load = buildLoad(work);

const get = (target, headers = '') => `GET ${target} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`;
const cases = [
  { name: 'hello', request: get('/hello'), pipeline: 1, node: true },
  {
    name: 'api',
    request: get('/api?id=42&page=3', 'X-Token: secret\r\nUser-Agent: bench\r\nAccept: */*\r\n'),
    pipeline: 1,
    node: true,
  },
  {
    name: 'hello, 16 pipelined',
    key: 'pipeline',
    request: get('/hello'),
    pipeline: 16,
    node: false,
  },
].filter((c) => !only || only.includes(c.key ?? c.name));

const handlers = fs.readFileSync(path.join(here, 'conf/handlers.conf'), 'latin1');

function config(port, head) {
  return `${head}
worker_processes 1;
daemon off;
master_process off;
pid nginx.pid;
error_log error.log warn;
events { worker_connections 4096; }
http {
${handlers.replace('${port}', port)}
}
`;
}

const servers = [
  {
    name: 'Moonphase',
    start: (dir, port) => {
      fs.writeFileSync(path.join(dir, 'nginx.conf'), config(port, ''));
      return [
        path.join(root, 'bin/moonphase-nginx'),
        '-p',
        dir,
        '-c',
        'nginx.conf',
        '-e',
        'error.log',
      ];
    },
  },
  {
    name: 'nginx',
    start: (dir, port) => {
      fs.writeFileSync(path.join(dir, 'nginx.conf'), config(port, nginxModules()));
      return ['/usr/sbin/nginx', '-p', dir, '-c', path.join(dir, 'nginx.conf'), '-e', 'error.log'];
    },
  },
  {
    name: 'node:http',
    plain: true,
    start: (dir, port) => [process.execPath, path.join(here, 'node-http.mjs'), port],
  },
];

let nextPort = 18000 + (process.pid % 1000) * 10;
function startServer(server) {
  const dir = fs.mkdtempSync(path.join(work, 'server-'));
  for (const sub of ['logs', 'body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'])
    fs.mkdirSync(path.join(dir, sub));
  const port = String(nextPort++);
  const [command, ...args] = pin(0, server.start(dir, port));
  const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  return { ...server, child, port, dir };
}

async function ready(server) {
  for (let i = 0; i < 100; ++i) {
    try {
      const answer = await fetch(`http://127.0.0.1:${server.port}/hello`);
      await answer.text();
      if (answer.ok) return;
    } catch {
      // not yet
    }
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`${server.name} does not answer (see ${server.dir})`);
}

function measure(server, test, requests) {
  return drive(load, server, { ...test, connections: 32, requests });
}

const running = servers.map(startServer);
const results = [];
try {
  for (const server of running) await ready(server);
  const share = seconds / cases.reduce((n, c) => n + (c.node ? 3 : 2), 0);
  for (const test of cases) {
    const among = running.filter((s) => !s.plain || test.node);
    const figures = new Map(among.map((s) => [s.name, []]));
    // How many requests one turn takes, so that a case gets its share in rounds of about a second.
    const size = new Map();
    for (const s of among) {
      const probe = measure(s, test, 16 * 1000);
      size.set(s.name, Math.max(16, Math.round((probe.rps * 1) / 16) * 16));
    }
    const rounds = Number(options.rounds ?? Math.max(3, Math.round(share)));
    for (let round = 0; round < rounds; ++round)
      for (const s of among) figures.get(s.name).push(measure(s, test, size.get(s.name)));
    const nginx = figures.get('nginx').map((f) => f.micros);
    for (const s of among) {
      const micros = figures.get(s.name).map((f) => f.micros);
      results.push({
        case: test.name,
        server: s.name,
        micros: median(micros),
        ratio: median(micros.map((m, i) => m / nginx[i])),
        rps: median(figures.get(s.name).map((f) => f.rps)),
      });
    }
  }
} finally {
  for (const s of running) s.child.kill('SIGTERM');
}

console.log(
  'CPU time per request (median of rounds), as a ratio to nginx + lua-nginx-module in the same run\n',
);
console.log(
  `${'case'.padEnd(22)}${'server'.padEnd(12)}${'µs CPU/request'.padStart(15)}${'ratio'.padStart(8)}${'requests/s'.padStart(13)}`,
);
for (const r of results)
  console.log(
    `${r.case.padEnd(22)}${r.server.padEnd(12)}${r.micros.toFixed(2).padStart(15)}${r.ratio.toFixed(2).padStart(8)}${Math.round(r.rps).toString().padStart(13)}`,
  );
if (options.json) fs.writeFileSync(options.json, JSON.stringify(results, null, 2));
fs.rmSync(work, { recursive: true, force: true });
