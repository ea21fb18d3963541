#!/usr/bin/env node
// npm run bench:cosockets: what cosockets cost, in Moonphase and in Debian's nginx + lua-nginx-module, with the same Lua.
//   node bench/cosockets.mjs [--rounds=5] [--requests=40000] [--megabytes=100] [--idle=10000] [--only=redis,body,idle]
// - a redis GET through lua-resty-redis and a keep-alive pool, 64 clients at once: CPU time per request (bar: 0.9 × nginx)
// - a body received by one cosocket and sent by another: CPU time (bar: 1.0 × nginx)
// - idle connections in a pool: memory of the process for each
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { number, options, root } from './options.mjs';
import { freePort, makePrefix } from './place.mjs';

const here = path.join(root, 'bench');
const rounds = number('rounds', 5);
const requests = number('requests', 40_000);
const megabytes = number('megabytes', 100);
const idle = number('idle', 10_000);
const only = options.only?.split(',') ?? ['redis', 'body', 'idle'];

const load = path.join(makePrefix('load'), 'load');
execFileSync('g++', ['-O2', '-std=c++20', path.join(here, 'load/load.cc'), '-o', load]);

// The peers: redis, a server that sends a body and takes one, one that only accepts.
const redisPort = await freePort();
const redis = spawn('redis-server', ['--port', redisPort, '--bind', '127.0.0.1', '--save', ''], {
  stdio: 'ignore',
  cwd: makePrefix('redis'),
});
const piece = Buffer.alloc(1 << 20, 'x');
const listen = (serve) =>
  new Promise((done) => {
    const server = net.createServer((socket) => {
      socket.on('error', () => socket.destroy());
      serve(socket);
    });
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => done(server.address().port));
  });
const sendPort = await listen(async (socket) => {
  for (let i = 0; i < megabytes && !socket.destroyed; ++i)
    if (!socket.write(piece)) await new Promise((done) => socket.once('drain', done));
  socket.end();
});
const takePort = await listen((socket) => {
  let n = 0;
  socket.on('data', (data) => {
    n += data.length;
    if (n === megabytes << 20) socket.end('done\n');
  });
});
const quietPort = await listen((socket) => socket.resume());

const config = (port, head) => `${head}
user root;
worker_processes 1;
worker_rlimit_nofile 65536;
daemon off;
master_process off;
pid nginx.pid;
error_log error.log warn;
events { worker_connections 32768; }
http {
    access_log off;
    lua_package_path "/usr/share/lua/5.1/?.lua;;";
    keepalive_requests 100000000;
    server {
        listen 127.0.0.1:${port};
        location = /hello { content_by_lua_block { ngx.say("hello") } }
        location = /redis {
            content_by_lua_block {
                local red = require("nginx.redis"):new()
                red:set_timeout(5000)
                local ok, err = red:connect("127.0.0.1", ${redisPort})
                if not ok then ngx.log(ngx.ERR, err) return ngx.exit(500) end
                local value = red:get("key")
                red:set_keepalive(60000, 100)
                ngx.header.content_length = #value + 1
                ngx.say(value)
            }
        }
        location = /body {
            content_by_lua_block {
                local from, to = ngx.socket.tcp(), ngx.socket.tcp()
                from:settimeouts(20000, 20000, 20000)
                to:settimeouts(20000, 20000, 20000)
                assert(from:connect("127.0.0.1", ${sendPort}))
                assert(to:connect("127.0.0.1", ${takePort}))
                while true do
                    local data, err, part = from:receive(65536)
                    data = data or part
                    if data and #data > 0 then assert(to:send(data)) end
                    if err then break end
                end
                ngx.say(to:receive("*l"))
            }
        }
        location = /idle {
            content_by_lua_block {
                local function rss()
                    local f = io.open("/proc/self/statm")
                    local _, pages = f:read("*n", "*n")
                    f:close()
                    return pages * 4096
                end
                local n, open = ${idle}, {}
                collectgarbage() collectgarbage()
                local before = rss()
                for i = 1, n do
                    local sock = ngx.socket.tcp()
                    sock:settimeouts(20000, 20000, 20000)
                    assert(sock:connect("127.0.0.1", ${quietPort}, { pool_size = n, pool = "quiet" }))
                    open[i] = sock
                end
                for i = 1, n do assert(open[i]:setkeepalive(600000, n)) end
                open = nil
                collectgarbage() collectgarbage()
                ngx.say((rss() - before) / n)
            }
        }
    }
}
`;

function nginxHead() {
  return ['mod-http-ndk.conf', 'mod-http-lua.conf']
    .map((file) => fs.readFileSync(path.join('/usr/share/nginx/modules-available', file), 'utf8'))
    .map((line) => line.trim().replace('modules/', '/usr/lib/nginx/modules/'))
    .join('\n');
}

async function start(name, command, head) {
  const dir = makePrefix(name);
  for (const sub of ['body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'])
    fs.mkdirSync(path.join(dir, sub));
  const port = await freePort();
  const file = path.join(dir, 'nginx.conf');
  fs.writeFileSync(file, config(port, head));
  const child = spawn('taskset', ['-c', '0', command, '-p', dir, '-c', file, '-e', 'error.log'], {
    stdio: 'inherit',
  });
  const get = async (target) => (await fetch(`http://127.0.0.1:${port}${target}`)).text();
  for (let i = 0; (await get('/hello').catch(() => '')) !== 'hello\n'; ++i) {
    if (i === 100) throw new Error(`${name} does not answer; see ${dir}`);
    await new Promise((done) => setTimeout(done, 100));
  }
  return { name, child, port, get };
}

function cpuSeconds({ child }) {
  let total = 0;
  for (const task of fs.readdirSync(`/proc/${child.pid}/task`))
    total += Number(
      fs.readFileSync(`/proc/${child.pid}/task/${task}/schedstat`, 'utf8').split(' ')[0],
    );
  return total / 1e9;
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const servers = [
  await start('Moonphase', path.join(root, 'bin/moonphase-nginx'), ''),
  await start('nginx', '/usr/sbin/nginx', nginxHead()),
];
execFileSync('redis-cli', ['-p', String(redisPort), 'set', 'key', 'a value']);

/** CPU time per unit of `work`, in turn; answers the ratio. */
async function compare(name, unit, work) {
  const figures = servers.map(() => []);
  for (let round = -1; round < rounds; ++round)
    for (const [i, server] of servers.entries()) {
      const before = cpuSeconds(server);
      const count = await work(server);
      if (round >= 0) figures[i].push((cpuSeconds(server) - before) / count);
    }
  const ratio = median(figures[0].map((f, i) => f / figures[1][i]));
  const each = servers.map(
    (s, i) => `${s.name} ${(median(figures[i]) * unit[0]).toFixed(2)} ${unit[1]}`,
  );
  console.log(`${name.padEnd(40)}${each.join(', ')}: ${ratio.toFixed(2)} × nginx`);
  return ratio;
}

let missed = false;
try {
  if (only.includes('redis')) {
    const ratio = await compare('redis GET, 64 clients', [1e6, 'µs CPU/request'], ({ port }) => {
      const out = execFileSync(
        'taskset',
        ['-c', '1', load, '127.0.0.1', port, '64', requests, '1'].map(String),
        {
          input: 'GET /redis HTTP/1.1\r\nHost: localhost\r\n\r\n',
          encoding: 'utf8',
        },
      );
      const [answers, errors] = out.trim().split(' ').map(Number);
      if (errors) throw new Error(`${errors} errors`);
      return answers;
    });
    missed ||= ratio > 0.9;
  }
  if (only.includes('body')) {
    const ratio = await compare(
      `${megabytes} MB received and sent`,
      [1e3, 'ms CPU'],
      async ({ get }) => {
        if ((await get('/body')) !== 'done\n') throw new Error('the body did not arrive');
        return 1;
      },
    );
    missed ||= ratio > 1;
  }
  if (only.includes('idle'))
    for (const { name, get } of servers)
      console.log(
        `${`${idle} idle connections in a pool`.padEnd(40)}${name} ${Math.round(Number(await get('/idle')))} bytes each`,
      );
} finally {
  for (const { child } of servers) child.kill('SIGKILL');
  redis.kill('SIGKILL');
}
if (missed) {
  console.log('a bar is missed: 0.9 for redis, 1.0 for the body');
  process.exitCode = 1;
}
process.exit();
