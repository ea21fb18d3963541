// bench/leaks.mjs in short: in a process of its own, whose memory is not tap's.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import t from 'tap';
import { plainNode, root } from '../helpers/server.js';

for (const [what, args] of [
  ['calls both ways', ['--calls=200000', '--workers=0', '--reloads=0']],
  ['worker_threads', ['--calls=0', '--workers=20', '--reloads=0']],
  ['reloads under load', ['--calls=0', '--workers=0', '--reloads=20', '--every=100']],
] as const) {
  t.test(what, async (t) => {
    const script = path.join(root, 'bench/leaks.mjs');
    const { status, stdout, stderr } = spawnSync(...plainNode(script, ...args), {
      encoding: 'utf8',
      timeout: 110_000,
    });
    t.equal(status, 0, `${stdout}${stderr}`);
  });
}
