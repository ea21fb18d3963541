#!/usr/bin/env node
// npm run bench:concurrency: what light threads cost, in Moonphase and in Debian's nginx + lua-nginx-module.
//   node bench/concurrency.mjs [--sleeping=100000] [--pairs=1000000] [--rounds=3]
// - memory of a light thread that sleeps, all at once: RSS of the process per thread (bar: 3 KB)
// - time of ngx.thread.spawn + ngx.thread.wait, per pair (bar: not more than nginx's)
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { number, root } from './options.mjs';

const sleeping = number('sleeping', 100_000);
const pairs = number('pairs', 1_000_000);
const rounds = number('rounds', 3);
const work = fs.mkdtempSync(path.join(os.tmpdir(), 'moonphase-bench-'));

const config = (port, head) => `${head}
worker_processes 1;
daemon off;
master_process off;
pid nginx.pid;
error_log error.log warn;
events { worker_connections 1024; }
http {
    lua_package_path "/usr/share/lua/5.1/?.lua;;";
    server {
        listen 127.0.0.1:${port};
        location = /hello { content_by_lua_block { ngx.say("hello") } }
        location = /sleeping {
            content_by_lua_block {
                local function rss()
                    local f = io.open("/proc/self/statm")
                    local _, pages = f:read("*n", "*n")
                    f:close()
                    return pages * 4096
                end
                local n, threads = ${sleeping}, {}
                local sleep, spawn = ngx.sleep, ngx.thread.spawn
                local f = function() sleep(5) end
                for i = 1, n do threads[i] = false end
                collectgarbage() collectgarbage()
                local before = rss()
                for i = 1, n do threads[i] = spawn(f) end
                ngx.say((rss() - before) / n)
            }
        }
        location = /pairs {
            content_by_lua_block {
                local n, spawn, wait = ${pairs}, ngx.thread.spawn, ngx.thread.wait
                local f = function() return 1 end
                ngx.update_time()
                local t = ngx.now()
                for i = 1, n do wait(spawn(f)) end
                ngx.update_time()
                ngx.say((ngx.now() - t) / n * 1e9)
            }
        }
    }
}
`;

function nginxHead() {
  const modules = '/usr/share/nginx/modules-available';
  return ['mod-http-ndk.conf', 'mod-http-lua.conf']
    .map((file) => fs.readFileSync(path.join(modules, file), 'utf8').trim())
    .map((line) => line.replace('modules/', '/usr/lib/nginx/modules/'))
    .join('\n');
}

let port = 19000 + (process.pid % 1000) * 10;
async function measure(name, command, head) {
  const dir = fs.mkdtempSync(path.join(work, 'server-'));
  for (const sub of ['logs', 'body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'])
    fs.mkdirSync(path.join(dir, sub));
  const file = path.join(dir, 'nginx.conf');
  fs.writeFileSync(file, config(++port, head));
  const child = spawn(command, ['-p', dir, '-c', file, '-e', 'error.log'], { stdio: 'inherit' });
  const get = async (target) => (await fetch(`http://127.0.0.1:${port}${target}`)).text();
  try {
    for (let i = 0; i < 100; ++i) {
      if ((await get('/hello').catch(() => '')) === 'hello\n') break;
      await new Promise((done) => setTimeout(done, 100));
    }
    let ns = Infinity;
    for (let i = 0; i < rounds; ++i) ns = Math.min(ns, Number(await get('/pairs')));
    return { name, bytes: Number(await get('/sleeping')), ns };
  } finally {
    child.kill('SIGKILL');
  }
}

const results = [await measure('Moonphase', path.join(root, 'bin/moonphase-nginx'), '')];
if (fs.existsSync('/usr/sbin/nginx'))
  results.push(await measure('nginx', '/usr/sbin/nginx', nginxHead()));
const nginx = results[1];
console.log(`${os.cpus()[0]?.model ?? ''}, node ${process.version}`);
for (const { name, bytes, ns } of results) {
  const ratio = nginx ? ` (${(ns / nginx.ns).toFixed(2)} × nginx)` : '';
  console.log(
    `${name.padEnd(10)} ${Math.round(bytes)} bytes for each of ${sleeping} sleeping threads, ` +
      `${Math.round(ns)} ns for spawn and wait${ratio}`,
  );
}
fs.rmSync(work, { recursive: true, force: true });
const [mine] = results;
if (mine.bytes > 3072 || (nginx && mine.ns > nginx.ns)) {
  console.log('a bar is missed: 3072 bytes, and not slower than nginx');
  process.exitCode = 1;
}
