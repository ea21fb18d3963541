// moonphase-nginx's flags, its daemon, its signals.
import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { alive, Prefix } from '../helpers/cli.js';
import { request } from '../helpers/http.js';
import { sleep } from '../helpers/server.js';

const conf = (http: string, main = ''): string => `user root;
worker_processes 1;
error_log logs/error.log notice;
pid logs/nginx.pid;
${main}
events { worker_connections 256; }
http {
    access_log logs/access.log;
    lua_shared_dict kept 64k;
    ${http}
}
`;

const server = (text: string): string => `server {
    listen 127.0.0.1:$port;
    location = /text { default_type text/plain; return 200 "${text}"; }
    location = /pid { content_by_lua_block { ngx.say(ngx.worker.pid()) } }
    location = /count { content_by_lua_block { ngx.say((ngx.shared.kept:incr("n", 1, 0))) } }
    location = /slow { content_by_lua_block { ngx.sleep(0.8) ngx.say("slow ${text}") } }
}`;

t.test('-t says what nginx says', async (t) => {
  const prefix = await Prefix.make(conf(server('one')));
  t.teardown(() => prefix.clean());
  const file = `${prefix.dir}/conf/nginx.conf`;
  const good = await prefix.run('-t');
  t.equal(good.code, 0);
  t.match(good.out, `nginx: the configuration file ${file} syntax is ok`);
  t.match(good.out, `nginx: configuration file ${file} test is successful`);
  t.same(await prefix.run('-t', '-q'), { code: 0, out: '' });

  const dump = await prefix.run('-T');
  t.equal(dump.code, 0);
  t.match(dump.out, `# configuration file ${file}:`);
  t.match(dump.out, 'location = /slow');

  prefix.configure(conf('server { listen 127.0.0.1:$port; frobnicate on; }'));
  const bad = await prefix.run('-t');
  t.equal(bad.code, 1);
  t.match(bad.out, `nginx: [emerg] unknown directive "frobnicate" in ${file}:`);
  t.match(bad.out, `nginx: configuration file ${file} test failed`);

  // of a map that nothing uses, too
  prefix.configure(conf('map $uri $x { ~a( b; } server { listen 127.0.0.1:$port; }'));
  const regex = await prefix.run('-t');
  t.equal(regex.code, 1);
  t.match(
    regex.out,
    /^nginx: \[emerg\] pcre2_compile\(\) failed: missing closing parenthesis in "a\(" in/,
  );

  prefix.configure(conf(`init_by_lua_block { error("broken init") } ${server('one')}`));
  const init = await prefix.run('-t');
  t.equal(init.code, 1, 'init_by_lua runs under -t');
  t.match(init.out, 'broken init');
});

t.test('-v, -V, -h, wrong flags', async (t) => {
  const prefix = await Prefix.make('events {}');
  t.teardown(() => prefix.clean());
  const version = await prefix.run('-v');
  t.equal(version.code, 0);
  t.match(version.out, /^nginx version: \S*nginx\/\d+\.\d+\.\d+/);
  const configure = await prefix.run('-V');
  t.match(configure.out, /configure arguments: --/);
  t.match((await prefix.run('-h')).out, /-s signal/);
  const wrong = await prefix.run('-x');
  t.equal(wrong.code, 1);
  t.match(wrong.out, 'nginx: invalid option: "x"');
  t.match((await prefix.run('-s', 'jump')).out, 'invalid option: "-s jump"');
});

t.test('-g, -c, -e', async (t) => {
  const prefix = await Prefix.make('');
  t.teardown(() => prefix.clean());
  prefix.write('conf/other.conf', 'events {} http { }');
  const good = await prefix.run('-t', '-c', 'conf/other.conf', '-g', 'pid logs/other.pid;');
  t.equal(good.code, 0, good.out);
  const bad = await prefix.run('-t', '-c', 'conf/other.conf', '-g', 'nothing on;');
  t.equal(bad.code, 1);
  t.match(bad.out, 'unknown directive "nothing" in command line');
  const none = await prefix.run('-t', '-c', 'conf/none.conf', '-e', 'logs/early.log');
  t.equal(none.code, 1);
  t.match(
    prefix.read('logs/early.log'),
    /\[emerg\] \d+#\d+: open\(\) ".*conf\/none\.conf" failed \(2: No such file or directory\)/,
  );
});

t.test('a daemon: start, -s reload, -s reopen, -s quit, the pid file', async (t) => {
  const prefix = await Prefix.make(conf(server('one')));
  t.teardown(() => prefix.clean());
  const started = await prefix.run();
  t.equal(started.code, 0, started.out);
  const { pid } = prefix;
  t.ok(alive(pid), 'the pid file is there when the command ends');
  t.equal((await request(prefix.port, '/text')).body, 'one', 'and it listens');
  t.equal(prefix.workers().length, 1);

  prefix.configure(conf(server('two')));
  t.equal((await prefix.run('-s', 'reload')).code, 0);
  await prefix.until(
    'the new configuration',
    async () => (await request(prefix.port, '/text')).body === 'two',
  );
  t.equal(prefix.pid, pid, 'the primary stays');
  await prefix.until('the old worker is gone', () => prefix.workers().length === 1);

  prefix.configure(conf('wrong;'));
  await prefix.run('-s', 'reload');
  await prefix.until('the error', () =>
    prefix.read('logs/error.log').includes('unknown directive "wrong"'),
  );
  t.equal((await request(prefix.port, '/text')).body, 'two', 'the old configuration goes on');
  prefix.configure(conf(server('two')));

  for (const log of ['access.log', 'error.log'])
    fs.renameSync(path.join(prefix.dir, 'logs', log), path.join(prefix.dir, 'logs', `${log}.1`));
  t.equal((await prefix.run('-s', 'reopen')).code, 0);
  await prefix.until(
    'new logs',
    () => prefix.exists('logs/access.log') && prefix.exists('logs/error.log'),
  );
  await prefix.until('the worker writes to the new log', async () => {
    await request(prefix.port, '/text');
    return prefix.read('logs/access.log').includes('/text');
  });

  t.equal((await prefix.run('-s', 'quit')).code, 0);
  await prefix.until('the end', () => !alive(pid));
  t.notOk(prefix.exists('logs/nginx.pid'), 'the pid file is gone');
  t.match(await prefix.run('-s', 'quit'), {
    code: 1,
    out: /nginx\.pid" failed \(2: No such file or directory\)/,
  });
  t.notMatch(prefix.read('logs/error.log'), /\[alert\]/);
});

t.test('QUIT lets a request finish, TERM does not', async (t) => {
  for (const [signal, finishes] of [
    ['SIGQUIT', true],
    ['SIGTERM', false],
  ] as const) {
    const prefix = await Prefix.make(conf(server('one'), 'daemon off;'));
    t.teardown(() => prefix.clean());
    const child = prefix.spawn();
    const ended = new Promise<number | null>((done) => child.once('exit', done));
    await prefix.until('the start', () => prefix.exists('logs/nginx.pid'));
    await prefix.until('an answer', () =>
      request(prefix.port, '/text').then(
        () => true,
        () => false,
      ),
    );
    const slow = request(prefix.port, '/slow').then(
      (a) => a.body,
      () => undefined,
    );
    await sleep(200);
    child.kill(signal);
    t.equal(await slow, finishes ? 'slow one\n' : undefined, signal);
    t.equal(await ended, 0, 'exit code');
    await t.rejects(request(prefix.port, '/text'), 'nobody listens');
  }
});

t.test('HUP with a request in flight: it finishes with its own configuration', async (t) => {
  for (const main of ['daemon off;', 'daemon off; master_process off;']) {
    const prefix = await Prefix.make(conf(server('old'), main));
    t.teardown(() => prefix.clean());
    const child = prefix.spawn();
    await prefix.until('the start', () => prefix.exists('logs/nginx.pid'));
    await prefix.until('an answer', () =>
      request(prefix.port, '/text').then(
        () => true,
        () => false,
      ),
    );
    const slow = request(prefix.port, '/slow');
    await sleep(200);
    prefix.configure(conf(server('new'), main));
    child.kill('SIGHUP');
    await prefix.until(
      'the new one',
      async () => (await request(prefix.port, '/text')).body === 'new',
    );
    t.equal((await slow).body, 'slow old\n', main);
  }
});

t.test('a worker that is killed is replaced; its shared dictionaries stay', async (t) => {
  const prefix = await Prefix.make(
    conf(server('one'), 'daemon off;').replace('worker_processes 1', 'worker_processes 2'),
  );
  t.teardown(() => prefix.clean());
  prefix.spawn();
  await prefix.until('the start', () => prefix.exists('logs/nginx.pid'));
  await prefix.until('an answer', () =>
    request(prefix.port, '/text').then(
      () => true,
      () => false,
    ),
  );
  for (let i = 1; i <= 5; ++i)
    t.equal(
      (await request(prefix.port, '/count')).body,
      `${i}\n`,
      'both workers count in one dictionary',
    );
  const before = prefix.workers();
  t.equal(before.length, 2);
  for (const pid of before) process.kill(pid, 'SIGKILL');
  await prefix.until('two new workers', () => {
    const now = prefix.workers();
    return now.length === 2 && !now.some((pid) => before.includes(pid));
  });
  await prefix.until('an answer', () =>
    request(prefix.port, '/text').then(
      () => true,
      () => false,
    ),
  );
  t.match(
    prefix.read('logs/error.log'),
    new RegExp(`\\[alert\\] \\d+#\\d+: worker process ${before[0]} exited on signal 9`),
  );
  t.equal((await request(prefix.port, '/count')).body, '6\n');
});

t.test('USR1 during the start does not open a debugger', async (t) => {
  const prefix = await Prefix.make(conf(server('one'), 'daemon off; master_process off;'));
  t.teardown(() => prefix.clean());
  const child = prefix.spawn();
  let out = '';
  child.stderr?.on('data', (data: Buffer) => (out += data.toString()));
  await prefix.until('the pid file', () => prefix.exists('logs/nginx.pid'));
  process.kill(prefix.pid, 'SIGUSR1');
  await prefix.until('an answer', () =>
    request(prefix.port, '/text').then(
      () => true,
      () => false,
    ),
  );
  t.notMatch(out, /[Dd]ebugger/);
});
