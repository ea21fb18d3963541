// Starts a server with a configuration of its own in a directory of its own: Moonphase's moonphase-nginx, or Debian's
// nginx with the Lua module for comparison. Every process started here is stopped by its pid.
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

/** tap puts its loaders into NODE_OPTIONS: they are not for the commands. It does so again where `node` is spawned. */
export function plainEnv(more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const env = { ...process.env };
  delete env['NODE_OPTIONS'];
  return { ...env, ...more };
}

/** `node` with such arguments, for spawn: a process that tap does not know of. */
export function plainNode(...args: string[]): [command: string, args: string[]] {
  return ['/usr/bin/env', ['-u', 'NODE_OPTIONS', process.execPath, ...args]];
}

export type Kind = 'moonphase' | 'nginx';

export interface ServerOptions {
  readonly kind?: Kind;
  /** Directives of the http context; `$port` (also `$port1` … `$port9`) becomes a free port, `$prefix` the directory. */
  readonly http: string;
  /** Main context, before `events {}`. */
  readonly main?: string;
  /** Files written below the prefix before the start. */
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly errorLogLevel?: string;
  /** Workers under a primary; 0 (default): one process, `master_process off`. */
  readonly workers?: number;
}

export class Server {
  readonly prefix: string;
  readonly port: number;
  readonly ports: readonly number[];
  readonly kind: Kind;
  /** What the process has printed. */
  output = '';
  private child!: ChildProcess;
  private exited!: Promise<number | null>;

  private constructor(kind: Kind, prefix: string, ports: readonly number[]) {
    this.kind = kind;
    this.prefix = prefix;
    this.ports = ports;
    this.port = ports[0] as number;
  }

  static async start(options: ServerOptions): Promise<Server> {
    const kind = options.kind ?? 'moonphase';
    const prefix = fs.mkdtempSync(path.join(os.tmpdir(), 'mp-'));
    const ports = await freePorts(/\$port[1-9]/.test(options.http) ? 10 : 1);
    const server = new Server(kind, prefix, ports);
    for (const dir of ['conf', 'logs', 'html', 'tmp']) fs.mkdirSync(path.join(prefix, dir));
    for (const [name, text] of Object.entries(options.files ?? {})) {
      const file = path.join(prefix, name);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, text, 'latin1');
    }
    fs.writeFileSync(path.join(prefix, 'conf/nginx.conf'), server.config(options), 'latin1');
    server.spawn(options);
    await server.ready();
    return server;
  }

  private config(options: ServerOptions): string {
    const fill = (text: string) =>
      text
        .replace(/\$port([1-9])?\b/g, (_, n?: string) => String(this.ports[Number(n ?? 0)]))
        .replaceAll('$prefix', this.prefix);
    const workers = options.workers ?? 0;
    return fill(`${this.kind === 'nginx' ? nginxModules() : ''}
user root;
worker_processes ${Math.max(1, workers)};
daemon off;
master_process ${workers ? 'on' : 'off'};
pid logs/nginx.pid;
error_log logs/error.log ${options.errorLogLevel ?? 'info'};
${options.main ?? ''}
events { worker_connections 1024; }
http {
${this.kind === 'nginx' ? nginxPaths() : ''}
${options.http}
}
`);
  }

  private spawn(options: ServerOptions): void {
    const binary =
      this.kind === 'nginx' ? '/usr/sbin/nginx' : path.join(root, 'bin/moonphase-nginx');
    const env = plainEnv(options.env);
    const args = ['-p', `${this.prefix}/`, '-c', 'conf/nginx.conf', '-e', 'logs/error.log'];
    this.child = spawn(binary, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout?.on('data', (data: Buffer) => (this.output += data.toString('latin1')));
    this.child.stderr?.on('data', (data: Buffer) => (this.output += data.toString('latin1')));
    this.exited = new Promise((done) => {
      this.child.once('exit', (code) => done(code));
      this.child.once('error', () => done(-1));
    });
  }

  get pid(): number {
    return this.child.pid as number;
  }

  private async ready(): Promise<void> {
    let over = false;
    void this.exited.then(() => (over = true));
    for (let i = 0; i < 400; ++i) {
      if (over) throw new Error(`the server did not start:\n${this.output}${this.errorLog()}`);
      if (fs.existsSync(path.join(this.prefix, 'logs/nginx.pid')) && (await connects(this.port)))
        return;
      await sleep(25);
    }
    throw new Error(`the server does not listen:\n${this.output}${this.errorLog()}`);
  }

  errorLog(): string {
    try {
      return fs.readFileSync(path.join(this.prefix, 'logs/error.log'), 'latin1');
    } catch {
      return '';
    }
  }

  /** Waits until error.log holds `text` (lines come out a moment after the answer). */
  async logged(text: string | RegExp, ms = 2000): Promise<boolean> {
    const found = () =>
      typeof text === 'string' ? this.errorLog().includes(text) : text.test(this.errorLog());
    for (const end = Date.now() + ms; Date.now() < end; await sleep(15)) if (found()) return true;
    return found();
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  /** Ends the server gracefully, by force after 5 s; answers its exit code. */
  async stop(signal: NodeJS.Signals = 'SIGQUIT'): Promise<number | null> {
    this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 5000);
    const code = await this.exited;
    clearTimeout(timer);
    if (!process.env['KEEP_PREFIX']) fs.rmSync(this.prefix, { recursive: true, force: true });
    return code;
  }

  wait(): Promise<number | null> {
    return this.exited;
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** Whether somebody listens there. */
export function connects(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.destroy();
      done(true);
    });
    socket.on('error', () => done(false));
  });
}

/** Ports that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const open: net.Server[] = [];
  for (let i = 0; i < count; ++i)
    open.push(
      await new Promise((done, fail) => {
        const server = net.createServer().listen(0, '127.0.0.1', () => done(server));
        server.on('error', fail);
      }),
    );
  const ports = open.map((server) => (server.address() as net.AddressInfo).port);
  await Promise.all(open.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

function nginxModules(): string {
  return ['ndk_http_module', 'ngx_http_lua_module']
    .map((name) => `load_module /usr/lib/nginx/modules/${name}.so;\n`)
    .join('');
}

function nginxPaths(): string {
  return ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path $prefix/tmp/${name};\n`)
    .join('');
}
