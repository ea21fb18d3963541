// What a prebuilt addon is made of, as one hash: a prebuild of other sources is not shipped.
import fs from 'node:fs';
import path from 'node:path';
import { filesBelow, sha256 } from '../deps/util.mjs';

const folders = ['native', 'lua', 'deps', 'scripts/profile'];
const single = ['binding.gyp', 'scripts/deps/build.mjs', 'scripts/prebuild/sysroot.json'];

export function sourceHash(root) {
  const files = folders
    .flatMap((dir) => filesBelow(path.join(root, dir)).map((file) => `${dir}/${file}`))
    .filter((file) => !/\.(md|txt)$/.test(file) || file.endsWith('sources.txt'));
  const lines = [...files, ...single].map(
    (file) => `${file} ${sha256(fs.readFileSync(path.join(root, file)))}`,
  );
  return sha256(lines.join('\n'));
}
