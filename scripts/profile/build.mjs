// Builds an addon twice: one that counts what a training run (train.mjs) makes it do, then the one that is built for
// those counts. gcc finds the counts of a file by the path of its object: both are built in the same place, the second
// when nothing of the first is left. ccache is left out; it knows objects by their sources.
import fs from 'node:fs';
import path from 'node:path';
import { UserError, emptyDir, filesBelow, readIfThere } from '../deps/util.mjs';
import { shown } from '../prebuild/stage.mjs';
import { train } from './train.mjs';

// Threads of an addon count at once; a count that is lost all the same is mended.
const counting = (dir) => `-fprofile-generate=${dir} -fprofile-update=prefer-atomic`;
// Training is partial: what it has not called is not made small and slow. And it is broad, while a server does few of
// its kinds: what makes up 99.9 % of the counts is hot, where gcc's own limit of 99 % would leave a road's rest cold.
const counted = (dir) =>
  `-fprofile-use=${dir} -fprofile-correction -fprofile-partial-training -Wno-missing-profile ` +
  '--param=hot-bb-count-ws-permille=999';

/**
 * `make(flags, env)` builds `stage`/build/Release/moonphase.node; `node`, a command and its arguments, can load it.
 * Under an emulator there are fewer rounds, since each takes fifty times as long.
 */
export async function buildWithProfile({ root, stage, make, node, emulated }) {
  const profile = emptyDir(path.join(stage, 'profile'));
  const build = path.join(stage, 'build');
  const again = (flags) => {
    fs.rmSync(build, { recursive: true, force: true });
    make(flags, { CCACHE_DISABLE: '1' });
  };
  again(counting(profile));
  shown(process.execPath, [path.join(root, 'scripts/build-ts.mjs')], root);
  const started = Date.now();
  const requests = await train({
    node,
    addon: path.join(build, 'Release/moonphase.node'),
    ...(emulated ? { rounds: 4, seconds: 300 } : { rounds: 30, seconds: 60 }),
  });
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.error(`moonphase profile: ${requests} requests of training (${seconds} s)`);
  checkCounts(root, profile);
  again(counted(profile));
}

/** There are counts for nearly every source. */
function checkCounts(root, profile) {
  const counts = filesBelow(profile).filter((file) => file.endsWith('.gcda')).length;
  const sources = readIfThere(path.join(root, 'native/sources.txt')).match(/^\S+\.cc?$/gm).length;
  if (counts < sources * 0.9) {
    throw new UserError(
      `training left counts of ${counts} files in ${profile}; there are ${sources} sources`,
    );
  }
}
