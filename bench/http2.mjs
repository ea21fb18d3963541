#!/usr/bin/env node
// HTTP/2 beside Debian's nginx with its Lua module: CPU time per request of a hello (h2load, in the clear and over TLS) and
// per TLS handshake (openssl s_time), server pinned to one core and load to the other, in turn.
//   node bench/http2.mjs [--seconds=3] [--rounds=3]
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { number, root } from './options.mjs';
import { freePort, makePrefix } from './place.mjs';

const seconds = number('seconds', 3);
const rounds = number('rounds', 3);
const pin = (cpu, command) =>
  os.availableParallelism() > 1 ? ['taskset', '-c', String(cpu), ...command] : command;

async function start(name) {
  const dir = makePrefix(`http2-${name}`);
  const [port, tls] = [await freePort(), await freePort()];
  execFileSync(
    'openssl',
    `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -keyout ${dir}/key.pem -out ${dir}/cert.pem`.split(
      ' ',
    ),
    { stdio: 'ignore' },
  );
  const modules = ['mod-http-ndk.conf', 'mod-http-lua.conf']
    .map((file) => fs.readFileSync(`/usr/share/nginx/modules-available/${file}`, 'utf8').trim())
    .map((line) => line.replace('modules/', '/usr/lib/nginx/modules/'));
  fs.writeFileSync(
    path.join(dir, 'conf/nginx.conf'),
    `${name === 'nginx' ? modules.join('\n') : ''}
    worker_processes 1; daemon off; master_process off; pid nginx.pid; error_log logs/error.log warn;
    events { worker_connections 4096; }
    http {
      access_log off; keepalive_requests 1000000000; keepalive_time 10h;
      ssl_certificate ${dir}/cert.pem; ssl_certificate_key ${dir}/key.pem; ssl_session_cache off; ssl_session_tickets off;
      server {
        listen 127.0.0.1:${port} http2; listen 127.0.0.1:${tls} ssl http2;
        location / { default_type text/plain; content_by_lua_block { ngx.say("hello, world") } }
      }
    }`,
  );
  const binary = name === 'nginx' ? '/usr/sbin/nginx' : path.join(root, 'bin/moonphase-nginx');
  const [command, ...args] = pin(0, [binary, '-p', `${dir}/`, '-c', 'conf/nginx.conf']);
  const child = spawn(command, args, { stdio: 'ignore' });
  for (let i = 0; i < 200; ++i) {
    if (fs.existsSync(path.join(dir, 'nginx.pid'))) break;
    await new Promise((done) => setTimeout(done, 50));
  }
  return { name, dir, port, tls, child };
}

function cpuSeconds(pid) {
  let total = 0;
  for (const task of fs.readdirSync(`/proc/${pid}/task`))
    total += Number(fs.readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
  return total / 1e9;
}

function h2load(url, streams) {
  const [command, ...args] = pin(1, [
    'h2load',
    '-c',
    '16',
    '-m',
    String(streams),
    '-D',
    String(seconds),
    url,
  ]);
  const text = execFileSync(command, args, { encoding: 'utf8' });
  const [, done, failed] = /requests: .* (\d+) succeeded, (\d+) failed/.exec(text) ?? [];
  if (failed !== '0') throw new Error(`${url}: ${failed} requests failed`);
  return Number(done);
}

function handshakes({ tls }) {
  const [command, ...args] = pin(1, [
    'openssl',
    's_time',
    '-connect',
    `127.0.0.1:${tls}`,
    '-new',
    '-time',
    String(seconds),
  ]);
  const text = execFileSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return Number(/(\d+) connections in \d+ real/.exec(text)?.[1]);
}

const cases = [
  { name: 'hello, 10 streams', run: (s) => h2load(`http://127.0.0.1:${s.port}/`, 10) },
  { name: 'hello, 1 stream', run: (s) => h2load(`http://127.0.0.1:${s.port}/`, 1) },
  { name: 'hello over TLS, 10 streams', run: (s) => h2load(`https://127.0.0.1:${s.tls}/`, 10) },
  { name: 'TLS handshake', run: handshakes },
];

const median = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)];
const servers = [await start('Moonphase'), await start('nginx')];
try {
  for (const test of cases) {
    const cost = new Map(servers.map((s) => [s.name, []]));
    for (let round = 0; round < rounds; ++round) {
      for (const server of servers) {
        const before = cpuSeconds(server.child.pid);
        const n = test.run(server);
        cost.get(server.name).push(((cpuSeconds(server.child.pid) - before) / n) * 1e6);
      }
    }
    const [ours, theirs] = servers.map((s) => median(cost.get(s.name)));
    console.log(
      `${test.name.padEnd(28)} Moonphase ${ours.toFixed(2)} µs, nginx ${theirs.toFixed(2)} µs: ${(ours / theirs).toFixed(2)} ×`,
    );
  }
} finally {
  for (const { child, dir } of servers) {
    child.kill('SIGKILL');
    fs.rmSync(dir, { recursive: true, force: true });
  }
}
