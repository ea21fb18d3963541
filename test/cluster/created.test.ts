// Dictionaries that workers create while they run: they outlive their workers, a reload whose workers ask again keeps them,
// one whose workers do not gives them up, and so does the end.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { Server, root, sleep } from '../helpers/server.js';

const create = 'assert(require("moonphase.shared").create("made/one_", "1m"))';
const http = (init: string): string => `
  init_worker_by_lua_block { ${init} }
  lua_shared_dict cats 100k;
  server {
    listen 127.0.0.1:$port;
    keepalive_timeout 0;
    location = /pid { content_by_lua_block { ngx.say(ngx.worker.pid()) } }
    location = /incr { content_by_lua_block {
      local made = ngx.shared["made/one_"]
      ngx.say(made and made:incr("n", 1, 0) or "none")
    } }
  }`;

const names = (pid: number): string[] =>
  fs.readdirSync('/dev/shm').filter((name) => name.split('-')[2] === String(pid));

async function until(what: () => boolean | Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < 400; i++, await sleep(25)) if (await what()) return true;
  return false;
}

t.test('one worker', async (t) => {
  const server = await Server.start({ workers: 1, http: http(create) });
  t.teardown(() => server.stop());
  const ask = async (target: string): Promise<string> => {
    try {
      return (await (await fetch(`http://127.0.0.1:${server.port}${target}`)).text()).trim();
    } catch {
      return 'refused';
    }
  };
  t.equal(await ask('/incr'), '1');
  const first = await ask('/pid');
  process.kill(Number(first), 'SIGKILL');
  t.ok(await until(async () => ![first, 'refused'].includes(await ask('/pid'))), 'respawned');
  t.equal(await ask('/incr'), '2', 'kept while there was no worker');

  const shdict = (...args: string[]): string => {
    const command = path.join(root, 'bin/moonphase');
    const all = ['-u', 'NODE_OPTIONS', command, 'shdict', ...args, '--pid', String(server.pid)];
    const { stdout, stderr } = spawnSync('env', all, { encoding: 'utf8' });
    return stdout + stderr;
  };
  t.match(shdict('list'), /^cats +102400 .*\nmade\/one_ +1048576 +\d+ +1 /m);
  t.equal(shdict('get', 'made/one_', 'n'), '2\n');
  t.equal(shdict('set', 'made/one_', 'n', '7', '--json'), '');
  t.equal(await ask('/incr'), '8');

  let worker = await ask('/pid');
  const reload = async (): Promise<void> => {
    server.signal('SIGHUP');
    t.ok(await until(async () => ![worker, 'refused'].includes(await ask('/pid'))), 'reloaded');
    const old = worker;
    worker = await ask('/pid');
    t.ok(await until(() => !fs.existsSync(`/proc/${old}`)), 'the old worker has ended');
  };
  await reload();
  t.equal(await ask('/incr'), '9', 'kept over a reload');
  t.equal(names(server.pid).length, 1);

  const file = path.join(server.prefix, 'conf/nginx.conf');
  const conf = fs.readFileSync(file, 'latin1');
  fs.writeFileSync(file, conf.replace(create, ''), 'latin1');
  await reload();
  t.equal(await ask('/incr'), 'none');
  t.ok(await until(() => names(server.pid).length === 0), 'released');

  fs.writeFileSync(file, conf, 'latin1');
  await reload();
  t.equal(await ask('/incr'), '1', 'a new one');
  await server.stop();
  t.same(names(server.pid), [], 'nothing is left');
});
