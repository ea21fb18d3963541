// Rounds of every case of cases.lua, over TCP and, where it can be, over unix sockets.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));

/** Directives of http {} for a server that runs the cases against `peers`. */
export function faultsHttp(port, peers) {
  const dns = ['dns_silent', 'dns_failure', 'dns_garbage']
    .map(
      (name) => `location = /run/${name} {
        resolver 127.0.0.1:${peers.at[name].port} ipv6=off; resolver_timeout 60ms;
        content_by_lua_block { ngx.say(require("cases").run(ngx.req.get_uri_args())) }
      }`,
    )
    .join('\n');
  return `
    lua_package_path "${here}/?.lua;;";
    lua_socket_log_errors off;
    lua_socket_pool_size 100;
    server {
      listen 127.0.0.1:${port};
      location = /list { content_by_lua_block { ngx.say(require("cases").list()) } }
      location = /run { content_by_lua_block { ngx.say(require("cases").run(ngx.req.get_uri_args())) } }
      ${dns}
      location = /stuck {
        content_by_lua_block {
          local held = require("cases").stuck(${peers.at.stuck.port})
          ngx.say("stuck")
          ngx.eof()
          ngx.sleep(1e6)
          ngx.log(ngx.ERR, #held)
        }
      }
      location = /memory {
        content_by_lua_block {
          local ffi = require "ffi"
          ffi.cdef "int malloc_trim(size_t pad);"
          collectgarbage() collectgarbage()
          -- What the allocator only keeps for later is not held.
          pcall(function() ffi.C.malloc_trim(0) end)
          ngx.say(collectgarbage("count"))
        }
      }
    }`;
}

function get(port, target, agent = false) {
  return new Promise((done, fail) => {
    http
      .get({ host: '127.0.0.1', port, path: target, agent }, (answer) => {
        let text = '';
        answer.setEncoding('latin1').on('data', (data) => (text += data));
        answer.on('end', () => (answer.statusCode === 200 ? done(text) : fail(new Error(text))));
        answer.on('error', () => done(text)); // /stuck goes on
      })
      .on('error', fail);
  });
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** What the process holds when nothing is under way: descriptors, resident KB, KB of Lua. */
export async function holds(port, pid) {
  const lua = Number(await get(port, '/memory'));
  const rss = Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
  return { fds: fs.readdirSync(`/proc/${pid}/fd`).length, rss, lua };
}

/** Waits until what is on its way has closed. */
export async function settled(port, pid, fds) {
  let now = await holds(port, pid);
  for (let i = 0; i < 60 && now.fds > fds; ++i) {
    await sleep(50);
    now = await holds(port, pid);
  }
  return now;
}

/** Lets the cases know a port that accepts nothing. */
export async function stuck(port) {
  await new Promise((done) => {
    http
      .get({ host: '127.0.0.1', port, path: '/stuck', agent: false }, (answer) => {
        answer.resume();
        done();
      })
      .on('error', done);
  });
}

/** The cases: `{ index, name, peer, heavy, dns, unix }`, twice where a unix path does as well. */
export async function listCases(port) {
  const lines = (await get(port, '/list')).trim().split('\n');
  return lines.flatMap((line) => {
    const [index, peer, flags, name] = line.split('\t');
    const has = (flag) => flags.split(',').includes(flag);
    const one = {
      index,
      peer,
      name,
      heavy: has('heavy'),
      dns: has('dns'),
      unix: false,
    };
    return has('unix') ? [one, { ...one, unix: true, name: `${name} (unix)` }] : [one];
  });
}

/** Runs `rounds` of one case, `clients` at a time; answers the longest round in ms and what was unexpected. */
export async function runCase(port, peers, test, rounds, clients) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: clients });
  const { port: to, path: unix } = peers.at[test.peer];
  const each = Math.ceil(rounds / clients);
  const query = `case=${test.index}&rounds=${each}&port=${to}${test.unix ? `&path=${unix}` : ''}`;
  const target = `/run${test.dns ? `/${test.peer}` : ''}?${query}`;
  let longest = 0;
  const wrong = new Set();
  const answers = await Promise.all(
    Array.from({ length: clients }, () => get(port, target, agent)),
  );
  for (const answer of answers) {
    const [ms, ...lines] = answer.trim().split('\n');
    longest = Math.max(longest, Number(ms));
    for (const line of lines) wrong.add(line);
  }
  agent.destroy();
  return { rounds: each * clients, longest, wrong: [...wrong] };
}
