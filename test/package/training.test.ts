// What prebuilt addons are trained with (scripts/profile) still answers, each kind of it, with the addon of this build.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { plainNode, root } from '../helpers/server.js';

t.test('a round of training', (t) => {
  const script = path.join(root, 'scripts/profile/train.mjs');
  const { status, stdout, stderr } = spawnSync(...plainNode(script), {
    encoding: 'utf8',
    timeout: 90_000,
  });
  t.equal(status, 0, `${stdout}${stderr}`);
  t.match(stdout, /^\d{4} requests answered/);
  t.end();
});

t.test('a request that is not answered as it should be fails it', (t) => {
  const dir = t.testdir({});
  for (const name of ['scripts/profile', 'scripts/deps']) {
    fs.cpSync(path.join(root, name), path.join(dir, name), { recursive: true });
  }
  for (const name of ['dist', 'lualib', 'package.json', 'build', 'prebuilds', 'node_modules']) {
    if (fs.existsSync(path.join(root, name)))
      fs.symlinkSync(path.join(root, name), path.join(dir, name));
  }
  const file = path.join(dir, 'scripts/profile/nginx.conf');
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('"hello, world"', '"hello"'));
  const script = path.join(dir, 'scripts/profile/train.mjs');
  const { status, stderr } = spawnSync(...plainNode(script), {
    encoding: 'utf8',
    timeout: 90_000,
  });
  t.equal(status, 1);
  t.match(stderr, /training: (hello|exec|set_uri|rewrite|secure|tls|HTTP\/2).*:/);
  t.end();
});
