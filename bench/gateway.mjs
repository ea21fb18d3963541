#!/usr/bin/env node
// node bench/gateway.mjs [--rounds=7] [--requests=20000] [--connections=32] [--only=PART OF A NAME]
// CPU time per proxied request, Moonphase beside Debian's nginx with the same configuration, in turn. Behind both is the load
// itself (load/backend.h) with 1 KB and 100 KB.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { buildLoad, drive, median, nginxModules, pin } from './measure.mjs';
import { number, options, root } from './options.mjs';
import { freePort, makePrefix } from './place.mjs';

const rounds = number('rounds', 7);
const requests = number('requests', 20000);
const connections = number('connections', 32);
const only = options.only ?? '';

const head = (dir) => `worker_processes 1;
daemon off;
master_process off;
pid ${dir}/nginx.pid;
error_log ${dir}/logs/error.log warn;
events { worker_connections 4096; }`;

const places = (dir) =>
  ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${dir}/${name};`)
    .join(' ');

const config = (dir, port, backend, modules) => `${modules}
${head(dir)}
http {
  access_log off;
  keepalive_requests 100000000;
  ${places(dir)}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  upstream plain { server 127.0.0.1:${backend}; keepalive 64; keepalive_requests 100000000; }
  upstream chosen {
    server 0.0.0.1;
    balancer_by_lua_block {
      local balancer = require "ngx.balancer"
      assert(balancer.set_current_peer("127.0.0.1", ${backend}))
    }
    keepalive 64;
    keepalive_requests 100000000;
  }
  server {
    listen 127.0.0.1:${port} backlog=1024;
    location = /ready { return 204; }
    location /plain/ { proxy_pass http://plain/; }
    location /lua/ {
      access_by_lua_block {
        if ngx.req.get_headers()["x-token"] ~= "secret" then return ngx.exit(401) end
        ngx.ctx.began = ngx.now()
      }
      proxy_pass http://chosen/;
      log_by_lua_block { ngx.ctx.took = ngx.now() - ngx.ctx.began }
    }
  }
}`;

const get = (target) => `GET ${target} HTTP/1.1\r\nHost: localhost\r\nX-Token: secret\r\n\r\n`;
const cases = [
  { name: 'proxy_pass, 1 KB', request: get('/plain/1k'), share: 1, bar: 1 },
  { name: 'proxy_pass, 100 KB', request: get('/plain/100k'), share: 0.2, bar: 1 },
  { name: 'access, balancer, log in Lua, 1 KB', request: get('/lua/1k'), share: 1, bar: 0.9 },
];

const dirs = [];
const children = [];
async function start(name, text, cpu, command) {
  const dir = makePrefix(`gateway-${name}`);
  dirs.push(dir);
  const port = String(await freePort());
  fs.writeFileSync(path.join(dir, 'nginx.conf'), text(dir, port));
  const args = ['-p', dir, '-c', path.join(dir, 'nginx.conf'), '-e', path.join(dir, 'error.log')];
  const [file, ...rest] = pin(cpu, [command, ...args]);
  const child = spawn(file, rest, { stdio: ['ignore', 'inherit', 'inherit'] });
  children.push(child);
  return { name, dir, port, child };
}

async function ready({ name, port }) {
  for (let i = 0; i < 100; ++i) {
    const answer = await fetch(`http://127.0.0.1:${port}/ready`).catch(() => undefined);
    if (answer?.status === 204) return;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`${name} does not answer`);
}

try {
  const backend = String(await freePort());
  const with_ = (modules) => (dir, port) => config(dir, port, backend, modules);
  const servers = [
    await start('Moonphase', with_(''), 0, path.join(root, 'bin/moonphase-nginx')),
    await start('nginx', with_(nginxModules()), 0, '/usr/sbin/nginx'),
  ];
  for (const server of servers) await ready(server);
  const load = buildLoad(dirs[0]);
  console.log('CPU time per request (median of rounds), and as a ratio to nginx in the same run\n');
  for (const test of cases.filter(({ name }) => name.includes(only))) {
    const turn = {
      request: test.request,
      pipeline: 1,
      connections,
      requests: Math.round(requests * test.share),
      backend: [backend],
    };
    const micros = servers.map(() => []);
    for (let round = 0; round <= rounds; ++round)
      servers.forEach((server, i) => {
        const figure = drive(load, server, turn).micros;
        if (round > 0) micros[i].push(figure); // the first one warms up
      });
    const ratio = median(micros[0].map((m, i) => m / micros[1][i]));
    console.log(
      `${test.name.padEnd(36)} ${median(micros[0]).toFixed(2).padStart(8)} µs  nginx ${median(micros[1]).toFixed(2).padStart(8)} µs  ${ratio.toFixed(2)}`,
    );
    if (ratio > test.bar + 0.005) {
      console.log(`  more than its bar, ${test.bar}`);
      process.exitCode = 1;
    }
  }
} finally {
  for (const child of children) child.kill('SIGTERM');
  for (const dir of dirs) fs.rmSync(dir, { recursive: true, force: true });
}
