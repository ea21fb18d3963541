// What the benches that compare servers share: the load, and CPU time per request.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const cpus = os.availableParallelism();

export const pin = (cpu, command) =>
  cpus > 1 ? ['taskset', '-c', String(cpu), ...command] : command;

export function buildLoad(dir) {
  const load = path.join(dir, 'load');
  execFileSync('g++', ['-O2', '-std=c++20', path.join(here, 'load/load.cc'), '-o', load]);
  return load;
}

/** The lines that load Debian's Lua module. */
export function nginxModules() {
  const modules = '/usr/share/nginx/modules-available';
  return ['mod-http-ndk.conf', 'mod-http-lua.conf']
    .map((file) => fs.readFileSync(path.join(modules, file), 'utf8').trim())
    .map((line) => line.replace('modules/', '/usr/lib/nginx/modules/'))
    .join('\n');
}

// The taskset wrapper execs: the child's pid is the server's. Threads (libuv's, V8's) count too.
function cpuSeconds(pid) {
  let total = 0;
  for (const task of fs.readdirSync(`/proc/${pid}/task`))
    total += Number(fs.readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
  return total / 1e9;
}

/** So many requests to a server that was started on core 0. */
export function drive(load, server, { request, pipeline, connections, requests, backend = [] }) {
  const before = cpuSeconds(server.child.pid);
  const [command, ...args] = pin(1, [
    load,
    '127.0.0.1',
    server.port,
    String(connections),
    String(requests),
    String(pipeline),
    ...backend,
  ]);
  const out = execFileSync(command, args, { input: request, encoding: 'utf8', timeout: 120_000 });
  const [answers, , wall] = out.trim().split(' ').map(Number);
  return { micros: ((cpuSeconds(server.child.pid) - before) / answers) * 1e6, rps: answers / wall };
}

export const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
