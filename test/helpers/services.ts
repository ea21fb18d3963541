// Real servers beside the one under test, each on a free port, stopped by pid.
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { freePorts, sleep } from './server.js';

export class Service {
  constructor(
    readonly port: number,
    private readonly child: ChildProcess,
    private readonly dir: string,
  ) {}

  async stop(): Promise<void> {
    const gone = new Promise((done) => this.child.once('exit', done));
    this.child.kill('SIGTERM');
    await gone;
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

/** redis-server, empty, in memory only. */
export const startRedis = (): Promise<Service> =>
  start('redis', (port, dir) => [
    'redis-server',
    ...['--port', String(port), '--bind', '127.0.0.1', '--dir', dir],
    ...['--save', '', '--appendonly', 'no'],
  ]);

/** memcached, empty. */
export const startMemcached = (): Promise<Service> =>
  start('memcached', (port) => [
    'memcached',
    ...['-p', String(port), '-U', '0', '-l', '127.0.0.1', '-u', 'root'],
  ]);

async function start(
  name: string,
  commandLine: (port: number, dir: string) => string[],
): Promise<Service> {
  const [port] = (await freePorts(1)) as [number];
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `mp-${name}-`));
  const [command = '', ...args] = commandLine(port, dir);
  const child = spawn(command, args, { stdio: 'ignore' });
  const failed = new Promise<never>((_, fail) => child.once('error', fail));
  await Promise.race([failed, listening(port)]);
  return new Service(port, child, dir);
}

async function listening(port: number): Promise<void> {
  for (let i = 0; i < 200; ++i) {
    const ok = await new Promise<boolean>((done) => {
      const socket = net.connect(port, '127.0.0.1', () => done(!!socket.destroy()));
      socket.on('error', () => done(false));
    });
    if (ok) return;
    await sleep(25);
  }
  throw new Error(`nothing listens on port ${port}`);
}

/** One command in redis' inline form; answers what comes back. */
export function redisCommand(port: number, ...words: string[]): Promise<string> {
  const text = `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
  return new Promise((done, fail) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(text));
    socket.once('data', (data) => {
      socket.destroy();
      done(data.toString());
    });
    socket.on('error', fail);
  });
}
