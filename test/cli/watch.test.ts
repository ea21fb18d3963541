// moonphase serve --watch
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { freePorts, plainNode, root, sleep } from '../helpers/server.js';

t.test('a changed file is a reload', async (t) => {
  const [port = 0] = await freePorts(1);
  const dir = t.testdir({
    conf: {
      'nginx.conf': `error_log logs/error.log; pid logs/nginx.pid; events {}
      http { access_log off; lua_package_path "$prefix/lua/?.lua;;"; include locations/*.conf; }`,
      locations: {
        'a.conf': `server { listen 127.0.0.1:${port};
          location / { content_by_lua_block { ngx.print(require("app")) } } }`,
      },
    },
    lua: { 'app.lua': 'return "one"' },
    logs: {},
  });
  const child = spawn(
    ...plainNode(path.join(root, 'bin/moonphase'), 'serve', '-p', dir, '--watch'),
  );
  t.teardown(() => child.kill('SIGTERM'));
  let said = '';
  child.stdout.on('data', (data) => (said += String(data)));
  child.stderr.on('data', (data) => (said += String(data)));
  const until = async (text: RegExp): Promise<void> => {
    for (let i = 0; i < 300 && !text.test(said); i++) await sleep(50);
    t.match(said, text);
    said = '';
  };
  const get = async (): Promise<string> => (await fetch(`http://127.0.0.1:${port}/`)).text();
  await until(/moonphase serves/);
  t.equal(await get(), 'one');
  fs.writeFileSync(`${dir}/lua/app.lua`, 'return "two"');
  await until(/changed: lua\/app\.lua\n(.*\n)*.*reloaded\n/);
  t.equal(await get(), 'two');
  // as editors do, and right after the request that has loaded the module
  fs.writeFileSync(`${dir}/lua/.new`, 'return "three"');
  fs.renameSync(`${dir}/lua/.new`, `${dir}/lua/app.lua`);
  await until(/changed: lua\/app\.lua\n(.*\n)*.*reloaded\n/);
  t.equal(await get(), 'three');
  fs.writeFileSync(`${dir}/lua/app.lua`, 'return "two"');
  await until(/changed: lua\/app\.lua\n(.*\n)*.*reloaded\n/);
  t.equal(await get(), 'two');
  fs.appendFileSync(`${dir}/conf/locations/a.conf`, 'nonsense;');
  // The one comes by stderr, the others by stdout: in either order.
  await until(
    /^(?=[^]*unknown directive "nonsense")[^]*changed: conf\/locations\/a\.conf\n[^]*not reloaded/,
  );
  t.equal(await get(), 'two', 'the old one goes on');
  const ended = new Promise((done) => child.once('exit', done));
  child.kill('SIGTERM');
  t.equal(await ended, 0);
});
