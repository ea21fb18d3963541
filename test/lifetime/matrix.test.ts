// Every operation that can wait × client gone, own timeout, thread killed, request ended, error elsewhere, worker quitting,
// terminated, reload: nothing crashes, nothing is left. See matrix.mjs for how to run it under a sanitizer.
import fs from 'node:fs';
import net from 'node:net';
import t, { type Test } from 'tap';
import { Server, sleep } from '../helpers/server.js';
import { http, lua, operations, thread } from './matrix.mjs';
import { get, leave } from './scenarios.mjs';

const SANITIZED = process.env['MOONPHASE_SANITIZER'] !== undefined;

function open(pid: number): number {
  return fs.readdirSync(`/proc/${pid}/fd`).length;
}
function children(pid: number): string[] {
  return fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
}

/** Peers that say nothing: one that accepts, one whose queue is full; with the server between them. */
async function start(
  t: Test,
  options: { codeCache?: boolean; workers?: number } = {},
): Promise<Server> {
  const server = await Server.start({
    http: http(options.codeCache ?? true),
    main: 'thread_pool pool threads=40; worker_shutdown_timeout 300ms; env PATH;',
    files: { 'matrix.lua': lua, 'matrix_thread.lua': thread },
    errorLogLevel: 'info',
    workers: options.workers ?? 0,
  });
  t.teardown(() => server.stop('SIGTERM'));
  const peers = new Set<net.Socket>();
  const silent = net.createServer((socket) => {
    peers.add(socket);
    socket.pause();
    socket.on('error', () => undefined).on('close', () => peers.delete(socket));
  });
  await new Promise<void>((done) => silent.listen(server.ports[1], '127.0.0.1', done));
  t.teardown(() => {
    silent.close();
    for (const socket of peers) socket.destroy();
  });
  return server;
}

function quiet(t: Test, server: Server): void {
  const alarms = server
    .errorLog()
    .split('\n')
    .filter(
      (line) => /\[(alert|emerg|crit)\]/.test(line) && !line.includes('lua_code_cache is off'),
    );
  t.same(alarms, [], 'nothing alarming is logged');
  t.notMatch(server.output, /AddressSanitizer|runtime error:/);
}

async function nothingLeft(t: Test, server: Server, before: number): Promise<void> {
  let now = Number.NaN;
  let processes: string[] = [];
  for (let i = 0; i < 200; ++i) {
    now = open(server.pid);
    processes = children(server.pid);
    if (now <= before && processes.length === 0) break;
    await sleep(50);
  }
  t.ok(now <= before, `${now} descriptors, ${before} before`);
  t.same(processes, [], 'no process is left');
  quiet(t, server);
}

for (const codeCache of [true, false]) {
  const name = codeCache ? '' : ', a VM for each request';
  t.test(`waits are cut short${name}`, async (t) => {
    const server = await start(t, { codeCache });
    // What is kept for good (the resolver's socket, the threads' mailbox) is there before.
    for (const op of operations) await get(server.port, `/short?op=${op}`);
    await sleep(300);
    const before = open(server.pid) + 2;
    for (const op of operations) {
      const post = op === 'body' ? { body: 'Content-Length: 100000\r\n\r\nhalf' } : {};
      const place = (target: string) => ({ name: op, target: `${target}?op=${op}`, ...post });
      if (op !== 'body' && op !== 'flush') {
        t.match(await get(server.port, `/short?op=${op}`), new RegExp(`^${op}`), `${op}: timeout`);
        // A subrequest cannot be left: the request ends when it does, as in OpenResty.
        for (const end of op === 'capture' ? [] : ['kill', 'exit', 'error'])
          t.match(
            await get(server.port, `/${end}?op=${op}`),
            /^(killed|left)\n|500 Internal/,
            `${op}: ${end}`,
          );
      }
      await Promise.all(
        ['/op', '/access', '/kill', '/exit'].flatMap((target) =>
          [1, 10, 40].flatMap((ms) =>
            [false, true].map((rst) => leave(server.port, place(target), ms, rst)),
          ),
        ),
      );
      t.equal(await get(server.port, '/ok'), 'ok\n', `${op}: client gone`);
    }
    await nothingLeft(t, server, before);
  });

  t.test(`workers end and reload meanwhile${name}`, async (t) => {
    for (const [signal, workers] of [
      ['SIGQUIT', 0],
      ['SIGTERM', 0],
      ['SIGHUP', 0],
      ['SIGHUP', 1],
      ['SIGQUIT', 1],
    ] as const) {
      const server = await start(t, { codeCache, workers });
      const clients: Promise<unknown>[] = [];
      for (const op of operations) {
        if (op !== 'body' && op !== 'flush')
          t.equal(await get(server.port, `/timer?op=${op}`), 'started\n');
        clients.push(leave(server.port, { name: op, target: `/op?op=${op}` }, 1500, false));
      }
      await sleep(SANITIZED ? 500 : 100);
      if (signal === 'SIGHUP') {
        server.signal('SIGHUP');
        await sleep(SANITIZED ? 2500 : 700);
        t.equal(await get(server.port, '/ok'), 'ok\n', `${signal}: it serves`);
      }
      t.equal(
        await server.stop(signal === 'SIGTERM' ? 'SIGTERM' : 'SIGQUIT'),
        0,
        `${signal}, ${workers} workers`,
      );
      await Promise.all(clients);
      quiet(t, server);
    }
  });
}
