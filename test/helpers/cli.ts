// Runs moonphase-nginx as a shell would, in a prefix of its own.
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePorts, root, sleep } from './server.js';

export interface Ran {
  readonly code: number | null;
  readonly out: string;
}

export class Prefix {
  private readonly children: ChildProcess[] = [];

  private constructor(
    readonly dir: string,
    readonly port: number,
  ) {}

  /** `conf` is the whole configuration; `$port` becomes a free one. */
  static async make(conf: string): Promise<Prefix> {
    const [port] = (await freePorts(1)) as [number];
    const prefix = new Prefix(fs.mkdtempSync(path.join(os.tmpdir(), 'mp-cli-')), port);
    for (const dir of ['conf', 'logs']) fs.mkdirSync(path.join(prefix.dir, dir));
    prefix.configure(conf);
    return prefix;
  }

  configure(conf: string): void {
    this.write('conf/nginx.conf', conf.replaceAll('$port', String(this.port)));
  }

  write(name: string, text: string): void {
    fs.writeFileSync(path.join(this.dir, name), text);
  }

  read(name: string): string {
    try {
      return fs.readFileSync(path.join(this.dir, name), 'latin1');
    } catch {
      return '';
    }
  }

  exists(name: string): boolean {
    return fs.existsSync(path.join(this.dir, name));
  }

  get pid(): number {
    return Number(this.read('logs/nginx.pid').trim());
  }

  spawn(...args: string[]): ChildProcess {
    const env = { ...process.env };
    delete env['NODE_OPTIONS'];
    const binary = path.join(root, 'bin/moonphase-nginx');
    const child = spawn(binary, ['-p', `${this.dir}/`, ...args], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.children.push(child);
    return child;
  }

  run(...args: string[]): Promise<Ran> {
    const child = this.spawn(...args);
    let out = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (data: Buffer) => (out += data.toString()));
    return new Promise((done) =>
      child.once('exit', (code) => setTimeout(() => done({ code, out }), 20)),
    );
  }

  /** The workers of the primary, by /proc. */
  workers(primary = this.pid): number[] {
    try {
      const text = fs.readFileSync(`/proc/${primary}/task/${primary}/children`, 'utf8');
      return text.trim().split(/\s+/).filter(Boolean).map(Number);
    } catch {
      return [];
    }
  }

  async until(what: string, test: () => boolean | Promise<boolean>, ms = 10000): Promise<void> {
    for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) if (await test()) return;
    throw new Error(`${what}: not within ${ms} ms\n${this.read('logs/error.log').slice(-3000)}`);
  }

  /** Ends what runs under the pid file and everything started here. */
  async clean(): Promise<void> {
    const { pid } = this;
    if (pid && alive(pid)) {
      process.kill(pid, 'SIGTERM');
      await this.until('the end', () => !alive(pid)).catch(() => process.kill(pid, 'SIGKILL'));
    }
    for (const child of this.children) if (child.exitCode === null) child.kill('SIGKILL');
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^\d+ \(.*\) Z/.test(fs.readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}
