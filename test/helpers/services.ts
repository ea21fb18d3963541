// Real servers beside the one under test, each on a free port, stopped by pid.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { freePorts, sleep } from './server.js';

export class Service {
  constructor(
    readonly port: number,
    private readonly child: ChildProcess,
    readonly dir: string,
    private readonly signal: NodeJS.Signals,
  ) {}

  async stop(): Promise<void> {
    const gone = new Promise((done) => this.child.once('exit', done));
    this.child.kill(this.signal);
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

/** Where Debian keeps PostgreSQL's programs: the newest version; undefined where there is none. */
export function postgresPrograms(): string | undefined {
  const versions = '/usr/lib/postgresql';
  if (!fs.existsSync(versions)) return undefined;
  const [newest] = fs.readdirSync(versions).sort((a, b) => Number(b) - Number(a));
  const bin = `${versions}/${newest}/bin`;
  return fs.existsSync(`${bin}/initdb`) ? bin : undefined;
}

export interface PostgresOptions {
  readonly password: string;
  /** pg_hba.conf's word: scram-sha-256, md5, password, trust. */
  readonly auth: string;
  readonly tls?: { readonly key: string; readonly cert: string };
}

/** PostgreSQL with a user `postgres`, on a port and on `dir`/.s.PGSQL.<port>. It refuses to be root. */
export const startPostgres = (options: PostgresOptions): Promise<Service> => {
  const commandLine = (port: number, dir: string): string[] => {
    const bin = postgresPrograms() as string;
    const user =
      process.getuid?.() === 0
        ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups']
        : [];
    const write = (name: string, text: string) => {
      fs.writeFileSync(path.join(dir, name), text, { mode: 0o600 });
      return path.join(dir, name);
    };
    const data = path.join(dir, 'data');
    const pwfile = write('password', options.password);
    const { tls } = options;
    const secure = tls
      ? [
          `ssl_key_file=${write('key.pem', tls.key)}`,
          `ssl_cert_file=${write('cert.pem', tls.cert)}`,
          'ssl=on',
        ]
      : [];
    if (user.length) execFileSync('chown', ['-R', 'postgres:postgres', dir]);
    const init = ['-D', data, '-U', 'postgres', '-A', options.auth, '--pwfile', pwfile];
    const [program = '', ...args] = [
      ...user,
      `${bin}/initdb`,
      ...init,
      '-E',
      'UTF8',
      '--locale=C',
      '-N',
    ];
    execFileSync(program, args, { stdio: 'ignore' });
    const settings = ['fsync=off', `unix_socket_directories=${dir}`, ...secure].flatMap((one) => [
      '-c',
      one,
    ]);
    return [
      ...user,
      `${bin}/postgres`,
      '-D',
      data,
      '-p',
      String(port),
      '-h',
      '127.0.0.1',
      ...settings,
    ];
  };
  // SIGTERM would wait for those that are connected.
  return start('postgres', commandLine, 'SIGINT');
};

export interface MariadbOptions {
  /** Run once, before it listens. */
  readonly sql: string;
  readonly tls?: { readonly ca: string; readonly key: string; readonly cert: string };
}

/** mariadbd with packets up to 64 MB, on a port and on `dir`/mysql.sock. */
export const startMariadb = (options: MariadbOptions): Promise<Service> =>
  start('mariadb', (port, dir) => {
    const common = ['--no-defaults', `--datadir=${dir}/data`, '--innodb-log-file-size=8M'];
    const user = process.getuid?.() === 0 ? ['--user=root'] : [];
    const install = [
      ...common,
      ...user,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
    ];
    execFileSync('mariadb-install-db', install, { stdio: 'ignore' });
    fs.writeFileSync(path.join(dir, 'init.sql'), options.sql);
    const secure = Object.entries(options.tls ?? {}).map(([name, text]) => {
      fs.writeFileSync(path.join(dir, name), text);
      return `--ssl-${name}=${dir}/${name}`;
    });
    return [
      'mariadbd',
      ...[
        ...common,
        ...user,
        ...secure,
        `--init-file=${dir}/init.sql`,
        `--socket=${dir}/mysql.sock`,
      ],
      ...[
        '--bind-address=127.0.0.1',
        `--port=${port}`,
        '--max-allowed-packet=64M',
        '--skip-name-resolve',
      ],
    ];
  });

async function start(
  name: string,
  commandLine: (port: number, dir: string) => string[],
  signal: NodeJS.Signals = 'SIGTERM',
): Promise<Service> {
  const [port] = (await freePorts(1)) as [number];
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `mp-${name}-`));
  const [command = '', ...args] = commandLine(port, dir);
  const child = spawn(command, args, { stdio: 'ignore' });
  const failed = new Promise<never>((_, fail) => child.once('error', fail));
  const service = new Service(port, child, dir, signal);
  try {
    await Promise.race([failed, listening(port)]);
  } catch (error) {
    if (child.exitCode === null && child.pid !== undefined) await service.stop();
    throw error;
  }
  return service;
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
