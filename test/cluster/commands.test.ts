// The server's life from outside: start, messages, signals, pid file, reload.
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import t, { type Test } from 'tap';
import { freePorts, root, sleep } from '../helpers/server.js';

const nginx = path.join(root, 'bin/moonphase-nginx');

interface Options {
  readonly main?: string;
  readonly http?: string;
  readonly location?: string;
}

/** A prefix with an nginx.conf, and the commands for it. */
class Place {
  constructor(
    readonly dir: string,
    readonly port: number,
  ) {}

  configure({ main = '', http = '', location = 'return 200 "one\\n";' }: Options = {}): void {
    fs.mkdirSync(`${this.dir}/conf`, { recursive: true });
    fs.mkdirSync(`${this.dir}/logs`, { recursive: true });
    fs.writeFileSync(
      `${this.dir}/conf/nginx.conf`,
      `error_log logs/error.log info;\npid logs/nginx.pid;\n${main}\nevents {}\nhttp {\naccess_log off;\n${http}\n` +
        `server {\nlisten 127.0.0.1:${this.port};\nlocation / { ${location} }\n}\n}\n`,
    );
  }

  run(...args: string[]): SpawnSyncReturns<string> {
    const env = { ...process.env };
    delete env['NODE_OPTIONS'];
    return spawnSync(nginx, ['-p', `${this.dir}/`, ...args], {
      env,
      encoding: 'utf8',
      timeout: 30_000,
    });
  }

  get pid(): number {
    return Number(fs.readFileSync(`${this.dir}/logs/nginx.pid`, 'utf8'));
  }

  get log(): string {
    return fs.readFileSync(`${this.dir}/logs/error.log`, 'utf8');
  }

  async get(): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${this.port}/`, {
      headers: { connection: 'close' },
    });
    return response.text();
  }

  listens(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = net.connect(this.port, '127.0.0.1');
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
  }

  async until(what: () => boolean | Promise<boolean>, ms = 10_000): Promise<boolean> {
    for (const end = Date.now() + ms; Date.now() < end; await sleep(10))
      if (await what()) return true;
    return what();
  }

  get gone(): boolean {
    return !fs.existsSync(`${this.dir}/logs/nginx.pid`);
  }

  /** Whatever a failed test has left. */
  kill(): void {
    try {
      process.kill(this.pid, 'SIGTERM');
    } catch {
      // gone
    }
  }
}

async function place(t: Test, options?: Options): Promise<Place> {
  const [port = 0] = await freePorts(1);
  const p = new Place(t.testdir(), port);
  p.configure(options);
  t.teardown(() => p.kill());
  return p;
}

const LUA = 'content_by_lua_block { ngx.say(ngx.worker.pid()) }';

for (const [kind, main] of [
  ['one process', 'daemon on; master_process off;'],
  ['a primary and workers', 'daemon on; master_process on; worker_processes 2;'],
] as const) {
  t.test(`${kind}: start, reopen, quit`, async (t) => {
    const p = await place(t, { main });
    const started = p.run();
    t.same(
      [started.status, started.stdout, started.stderr],
      [0, '', ''],
      'it returns when it serves',
    );
    t.equal(await p.get(), 'one\n');
    t.ok(p.pid > 1 && p.pid !== started.pid);

    fs.renameSync(`${p.dir}/logs/error.log`, `${p.dir}/logs/old.log`);
    t.equal(p.run('-s', 'reopen').status, 0);
    t.ok(await p.until(() => fs.existsSync(`${p.dir}/logs/error.log`)));

    const pid = p.pid;
    t.equal(p.run('-s', 'quit').status, 0);
    t.ok(await p.until(() => p.gone));
    t.notOk(await p.listens(), 'once the pid file is gone nothing listens');
    t.ok(await p.until(() => !alive(pid)));
    t.match(p.log, /\[notice\] \d+#\d+: signal 3 \(SIGQUIT\) received from \d+, shutting down\n/);
    t.match(p.log, /\[notice\] \d+#\d+: exit\n/);
  });

  t.test(`${kind}: reload`, async (t) => {
    const p = await place(t, { main });
    t.equal(p.run().status, 0);
    const pid = p.pid;
    p.configure({ main, location: 'return 200 "two\\n";' });
    t.equal(p.run('-s', 'reload').status, 0);
    t.ok(await p.until(async () => (await p.get()) === 'two\n'));
    t.equal(p.pid, pid, 'the process stays');

    p.configure({ main, location: 'nonsense;' });
    process.kill(pid, 'SIGHUP');
    t.ok(
      await p.until(() =>
        /\[emerg\].*unknown directive "nonsense" in .*nginx\.conf:\d+/.test(p.log),
      ),
    );
    t.equal(await p.get(), 'two\n', 'a wrong configuration changes nothing');

    p.configure({
      main,
      http: 'init_by_lua_block { error("no luck") }',
      location: 'return 200 "three\\n";',
    });
    process.kill(pid, 'SIGHUP');
    t.ok(await p.until(() => /\[error\].*init_by_lua error: .*no luck/.test(p.log)));
    t.equal(await p.get(), 'two\n', 'nor does Lua code that fails');

    p.configure({ main, location: 'return 200 "four\\n";' });
    process.kill(pid, 'SIGHUP');
    t.ok(await p.until(async () => (await p.get()) === 'four\n'));
    process.kill(pid, 'SIGTERM');
    t.ok(await p.until(() => p.gone));
  });

  t.test(`${kind}: no request fails while plans change`, async (t) => {
    const p = await place(t, { main, location: LUA });
    t.equal(p.run().status, 0);
    let stop = false;
    const failures: unknown[] = [];
    let served = 0;
    const client = async (): Promise<void> => {
      while (!stop) {
        try {
          if (Number(await p.get()) > 1) served++;
        } catch (error) {
          failures.push(error);
        }
      }
    };
    const clients = [client(), client(), client()];
    for (let i = 0; i < 4; i++) {
      const before = (p.log.match(/reconfiguring/g) ?? []).length;
      process.kill(p.pid, 'SIGHUP');
      await p.until(() => (p.log.match(/reconfiguring/g) ?? []).length > before);
      await sleep(150);
    }
    stop = true;
    await Promise.all(clients);
    t.same(failures, []);
    t.ok(served > 10, `${served} requests`);
    process.kill(p.pid, 'SIGQUIT');
    t.ok(await p.until(() => p.gone));
  });

  t.test(`${kind}: what is wrong at start`, async (t) => {
    const p = await place(t, { main, location: 'nonsense;' });
    const wrong = p.run();
    t.equal(wrong.status, 1);
    t.equal(
      wrong.stderr,
      `nginx: [emerg] unknown directive "nonsense" in ${p.dir}/conf/nginx.conf:10\n`,
    );
    t.match(p.log, /\[emerg\] \d+#\d+: unknown directive "nonsense" in .*nginx\.conf:10\n/);

    p.configure({ main, http: 'init_by_lua_block { error("no luck") }' });
    const failed = p.run();
    t.equal(failed.status, 1);
    t.match(
      failed.stderr,
      /^nginx: \[error\] init_by_lua error: init_by_lua\(nginx\.conf:7\):1: no luck/,
    );
    t.notOk(await p.listens());
    t.ok(p.gone);
  });

  t.test(`${kind}: an address in use`, async (t) => {
    const p = await place(t, { main });
    const other = net.createServer().listen(p.port, '127.0.0.1');
    t.teardown(() => other.close());
    await sleep(20);
    const busy = p.run();
    t.equal(busy.status, 1);
    const bind = `nginx: [emerg] bind() to 127.0.0.1:${p.port} failed (98: Address already in use)\n`;
    t.equal(busy.stderr, `${bind.repeat(5)}nginx: [emerg] still could not bind()\n`);
  });
}

t.test('a worker that dies comes back', async (t) => {
  const p = await place(t, {
    main: 'daemon on; master_process on; worker_processes 1;',
    location: LUA,
  });
  t.equal(p.run().status, 0);
  const first = Number(await p.get());
  t.not(first, p.pid);
  const killed = Date.now();
  process.kill(first, 'SIGKILL');
  let second = first;
  let refused = 0;
  let over = false;
  const knocking = (async () => {
    for (; !over; await sleep(5)) if (!(await p.listens())) ++refused;
  })();
  t.ok(
    await p.until(async () => {
      second = Number(await p.get());
      return second !== first;
    }),
  );
  const ms = Date.now() - killed;
  over = true;
  await knocking;
  t.ok(ms < 1000, `after ${ms} ms`);
  t.equal(refused, 0, 'the sockets listened all the time');
  t.match(p.log, new RegExp(`\\[alert\\] \\d+#\\d+: worker process ${first} exited on signal 9\n`));
  process.kill(p.pid, 'SIGKILL');
  t.ok(await p.until(async () => !(await p.listens())), 'without a primary its workers end');
});

t.test('the privileged agent', async (t) => {
  const p = await place(t, {
    main: 'daemon on; master_process on; worker_processes 2;',
    http: `init_by_lua_block { assert(require("ngx.process").enable_privileged_agent(64)) }
      init_worker_by_lua_block {
        local process = require "ngx.process"
        ngx.log(ngx.NOTICE, "type: ", process.type(), ", id: ", ngx.worker.id(), ", master: ", process.get_master_pid())
      }`,
    location: LUA,
  });
  t.equal(p.run().status, 0);
  const agents = (): number[] =>
    [...p.log.matchAll(/(\d+)#\d+: \*\d+ \[lua\] .*type: privileged agent, id: nil/g)].map((m) =>
      Number(m[1]),
    );
  t.ok(await p.until(() => agents().length === 1));
  const first = agents()[0] ?? 0;
  const title = (): string => fs.readFileSync(`/proc/${first}/cmdline`, 'utf8');
  t.match(title(), /^nginx: privileged agent process/);
  t.match(p.log, new RegExp(`type: worker, id: 1, master: ${p.pid},`));
  for (let i = 0; i < 20; ++i) t.not(Number(await p.get()), first, 'it serves nobody');
  process.kill(first, 'SIGKILL');
  t.ok(await p.until(() => agents().length === 2), 'it is replaced');
  process.kill(p.pid, 'SIGHUP');
  t.ok(await p.until(() => agents().length === 3), 'a reload starts a new one');
  process.kill(p.pid, 'SIGQUIT');
  t.ok(await p.until(() => p.gone));
  t.match(p.log, new RegExp(`\\[alert\\] .*privileged agent process ${first} exited on signal 9`));
});

t.test('the daemon line is found where the launcher does not look for it', async (t) => {
  // a line of a value looks like a directive: the launcher takes this for a foreground server
  const p = await place(t, { http: 'map $uri $x { default "\n daemon off"; }' });
  fs.writeFileSync(`${p.dir}/conf/daemon.inc`, 'daemon on;\nmaster_process off;\n');
  fs.appendFileSync(`${p.dir}/conf/nginx.conf`, 'include daemon.inc;\n');
  t.equal(p.run().status, 0);
  t.equal(await p.get(), 'one\n');
  process.kill(p.pid, 'SIGQUIT');
  t.ok(await p.until(() => p.gone));
});

t.test('-t and -T', async (t) => {
  const p = await place(t);
  const file = `${p.dir}/conf/nginx.conf`;
  const good = p.run('-t');
  t.equal(good.status, 0);
  t.equal(
    good.stderr,
    `nginx: the configuration file ${file} syntax is ok\nnginx: configuration file ${file} test is successful\n`,
  );
  t.same([p.run('-tq').status, p.run('-tq').stderr], [0, '']);
  const dump = p.run('-T');
  t.equal(dump.stdout, `# configuration file ${file}:\n${fs.readFileSync(file, 'utf8')}\n`);
  p.configure({ location: 'nonsense;' });
  const bad = p.run('-tq');
  t.equal(bad.status, 1);
  t.equal(
    bad.stderr,
    `nginx: [emerg] unknown directive "nonsense" in ${file}:10\nnginx: configuration file ${file} test failed\n`,
  );
});

t.test('-s without a server', async (t) => {
  const p = await place(t);
  const none = p.run('-s', 'stop');
  t.equal(none.status, 1);
  t.equal(
    none.stderr,
    `nginx: [error] open() "${p.dir}/logs/nginx.pid" failed (2: No such file or directory)\n`,
  );
  fs.writeFileSync(`${p.dir}/logs/nginx.pid`, 'x\n');
  t.match(
    p.run('-s', 'stop').stderr,
    /nginx: \[error\] invalid PID number "x" in ".*nginx\.pid"\n/,
  );
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
