// moonphase shdict, on a running server with workers.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { freePorts, root, sleep } from '../helpers/server.js';

const command = path.join(root, 'bin/moonphase');
// without the test runner's loaders, which it gives to every child
const plain = ['-u', 'NODE_OPTIONS', command];

t.test('the dictionaries of a running server', async (t) => {
  const dir = t.testdir({ conf: {}, logs: {} });
  const [port = 0] = await freePorts(1);
  fs.writeFileSync(
    `${dir}/conf/nginx.conf`,
    `worker_processes 2;\npid logs/nginx.pid;\nerror_log logs/error.log;\nevents {}\nhttp {\n` +
      `lua_shared_dict cats 1m;\nlua_shared_dict tables 200k values=any;\nserver {\nlisten 127.0.0.1:${port};\n` +
      `location /fill { content_by_lua_block {\nngx.shared.cats:set("tom", 9)\nngx.shared.cats:set("bytes", "\\255\\0", 100)\n` +
      `ngx.shared.cats:lpush("list", 1)\nngx.shared.tables:set("t", { a = { 1, 2 } })\nngx.say("ok")\n} }\n` +
      `location /get { content_by_lua_block { ngx.say(tostring(ngx.shared.cats:get(ngx.var.arg_k))) } }\n}\n}\n`,
  );
  const server = spawn('env', [...plain, 'serve', '-p', dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(async () => {
    server.kill('SIGTERM');
    if (server.exitCode === null) await once(server, 'exit');
  });
  await once(server.stdout, 'data');
  const ask = async (target: string): Promise<string> =>
    (await (await fetch(`http://127.0.0.1:${port}${target}`)).text()).trim();
  for (let i = 0; i < 50 && !fs.existsSync(`${dir}/logs/nginx.pid`); i++) await sleep(50);
  const shdict = (...args: string[]): { status: number | null; out: string; err: string } => {
    const done = spawnSync('env', [...plain, 'shdict', ...args], { encoding: 'utf8' });
    return { status: done.status, out: done.stdout, err: done.stderr };
  };
  t.equal(await ask('/fill'), 'ok');

  const listed = shdict('list', '-p', dir);
  t.match(listed.out, /^name +capacity +bytes +entries +hits +misses +evictions\n/);
  t.match(listed.out, /^cats +1048576 +\d+ +3 /m);
  t.match(listed.out, /^tables +204800 +\d+ +1 /m);
  t.equal(shdict('get', 'cats', 'tom', '-p', dir).out, '9\n');
  t.equal(shdict('get', 'cats', 'bytes', '--pid', String(server.pid)).out, '{"base64":"/wA="}\n');
  t.equal(shdict('get', 'tables', 't', '-p', dir).out, '{"a":[1,2]}\n');
  t.match(shdict('get', 'cats', 'none', '-p', dir), { status: 1, err: /no entry "none"/ });
  t.match(shdict('get', 'dogs', 'x', '-p', dir), { status: 1, err: /no shared dictionary "dogs"/ });

  t.equal(shdict('set', 'cats', 'felix', 'text', '-p', dir).status, 0);
  t.equal(await ask('/get?k=felix'), 'text');
  shdict('set', 'cats', 'felix', '12.5', '--json', '--ttl', '50', '-p', dir);
  t.equal(await ask('/get?k=felix'), '12.5');
  shdict('del', 'cats', 'tom', '-p', dir);
  t.equal(await ask('/get?k=tom'), 'nil');
  const lines = shdict('dump', 'cats', '-p', dir)
    .out.trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { key: string; value: unknown; ttl: number; error: string });
  t.same(lines.map(({ key }) => key).sort(), ['bytes', 'felix', 'list']);
  t.match(
    lines.find(({ key }) => key === 'felix'),
    { value: 12.5 },
  );
  t.match(
    lines.find(({ key }) => key === 'list'),
    { error: 'value is a list' },
  );

  t.match(shdict('list', '--pid', '1x'), { status: 2, err: /--pid takes a process id/ });
  t.match(shdict('list', '--pid', '4194303'), { status: 1, err: /there is no process/ });
  t.match(shdict('get', 'cats'), { status: 2, err: /takes 2 arguments/ });
  t.match(shdict('eat'), { status: 2, err: /unknown command/ });
  t.match(shdict('--help'), { status: 0, out: /^Usage: moonphase shdict/ });
});
