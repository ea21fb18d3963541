#!/usr/bin/env node
// Reloads under load, and lua_code_cache off: does memory stay flat, is an answer lost? One process (`master_process off`),
// where a reload puts a new plan and a new Lua VM into the place of the old ones.
//   node bench/reloads.mjs [--reloads=1000] [--requests=3000] [--clients=4]
// npm run soak runs it at this size, test/lifetime in short.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { get } from '../test/lifetime/scenarios.mjs';
import { number, root } from './options.mjs';
import { freePort, makePrefix } from './place.mjs';

const reloads = number('reloads', 1000);
const requests = number('requests', 3000);
const clients = number('clients', 4);
/** Growth between the first part and the end that is no leak: allocators keep some. A VM here has 3 MB. */
const ALLOWED = 24;

const dir = makePrefix('reloads');
const port = await freePort();
fs.writeFileSync(
  path.join(dir, 'conf/nginx.conf'),
  `user root;
worker_processes 1;
master_process off;
daemon off;
pid logs/nginx.pid;
error_log logs/error.log warn;
thread_pool pool threads=2;
events { worker_connections 4096; }
http {
    lua_package_path "$prefix/?.lua;;";
    lua_shared_dict counts 64k;
    init_by_lua_block {
        ballast = {}
        for i = 1, 20000 do ballast[i] = { i, tostring(i) } end
        generation = ngx.shared.counts:incr("generation", 1, 0)
    }
    init_worker_by_lua_block {
        ngx.timer.every(0.05, function() ngx.shared.counts:incr("ticks", 1, 0) end)
        ngx.timer.at(3600, function() end)
    }
    exit_worker_by_lua_block { ngx.shared.counts:incr("exits", 1, 0) }
    server {
        listen 127.0.0.1:${port};
        access_log off;
        location = /ok { content_by_lua_block { ngx.say("ok") } }
        location = /generation { content_by_lua_block { ngx.say(generation) } }
        location = /exits { content_by_lua_block { ngx.say(ngx.shared.counts:get("exits") or 0) } }
        location = /wait {
            content_by_lua_block {
                local t = ngx.thread.spawn(function() ngx.sleep(0.02) end)
                require("ngx.semaphore").new(0):wait(0.01)
                ngx.thread.wait(t)
                ngx.run_worker_thread("pool", "string", "rep", "x", 10)
                ngx.say("waited")
            }
        }
        location = /socket {
            content_by_lua_block {
                local sock = ngx.socket.tcp()
                assert(sock:connect("127.0.0.1", ${port}))
                sock:send("GET /ok HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
                sock:receiveuntil("ok")()
                sock:setkeepalive()
                ngx.say("kept")
            }
        }
        location = /fresh {
            lua_code_cache off;
            content_by_lua_block {
                ngx.timer.at(0.01, function() ngx.sleep(0.01) end)
                local sock = ngx.socket.tcp()
                sock:connect("127.0.0.1", ${port})
                ngx.say("fresh")
            }
        }
    }
}
`,
);
const child = spawn(path.join(root, 'bin/moonphase-nginx'), ['-p', `${dir}/`], {
  stdio: 'inherit',
});
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
let exited;
child.once('exit', (code, signal) => (exited = code ?? signal));
for (let i = 0; i < 100 && !(await get(port, '/ok')); ++i) await sleep(100);
const megabytes = () =>
  Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024;
const descriptors = () => fs.readdirSync(`/proc/${child.pid}/fd`).length;

let failed = false;
/** Runs `step` n times and compares the memory after a quarter with that at the end. */
async function flat(what, n, step) {
  let early = 0;
  for (let i = 0; i < n && exited === undefined; ++i) {
    await step(i);
    if (i === Math.floor(n / 4)) early = megabytes();
    if (i % Math.ceil(n / 8) === 0)
      console.log(`${what} ${i}: ${megabytes().toFixed(0)} MB, ${descriptors()} descriptors`);
  }
  if (exited !== undefined) return;
  await sleep(300);
  const late = megabytes();
  const ok = late - early < ALLOWED;
  console.log(
    `${what} ${n}: ${late.toFixed(0)} MB, ${early.toFixed(0)} MB after a quarter${ok ? '' : ': it grows'}`,
  );
  failed ||= !ok;
}

let over = false;
let answered = 0;
let lost = 0;
const load = Array.from({ length: clients }, async (_, i) => {
  while (!over && exited === undefined) {
    if (await get(port, ['/ok', '/wait', '/socket'][i % 3])) ++answered;
    else ++lost;
  }
});
const generation = async () => Number(await get(port, '/generation'));
await flat('reload', reloads, async () => {
  const before = await generation();
  child.kill('SIGHUP');
  for (let i = 0; i < 1000 && exited === undefined && (await generation()) === before; ++i)
    await sleep(2);
});
over = true;
await Promise.all(load);
await sleep(200);
const exits = Number(await get(port, '/exits'));
console.log(`${answered} answered, ${lost} lost; exit_worker_by_lua ran ${exits} times`);
failed ||= lost > 0 || exits < reloads;
await flat('request with a VM of its own', Math.ceil(requests / 4), () =>
  Promise.all(
    Array.from({ length: 4 }, () =>
      get(port, '/fresh').then((body) => (failed ||= body !== 'fresh\n')),
    ),
  ),
);
child.kill('SIGQUIT');
for (let i = 0; i < 100 && exited === undefined; ++i) await sleep(50);
if (exited !== 0) child.kill('SIGKILL');
const alarms = fs
  .readFileSync(path.join(dir, 'logs/error.log'), 'latin1')
  .split('\n')
  .filter(
    (line) => /\[(alert|emerg|crit|error)\]/.test(line) && !line.includes('lua_code_cache is off'),
  );
for (const line of alarms.slice(0, 20)) console.log(line);
if (failed || exited !== 0 || alarms.length > 0) {
  console.log(`exit code ${exited}; the log is in ${dir}/logs`);
  process.exitCode = 1;
} else {
  fs.rmSync(dir, { recursive: true, force: true });
}
