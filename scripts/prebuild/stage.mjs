// A directory where node-gyp builds what is in the checkout, so that the checkout's own build/Release stays as it is.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { UserError } from '../deps/util.mjs';
import { nodeDir } from '../node-dir.mjs';

const require = createRequire(import.meta.url);

/** Makes it; node-gyp then builds in `stage`/build. */
export function makeStage(root, stage) {
  fs.mkdirSync(stage, { recursive: true });
  for (const name of ['binding.gyp', 'package.json', 'native', 'lua', 'scripts']) {
    link(path.join(root, name), path.join(stage, name));
  }
  const modules = path.dirname(path.dirname(require.resolve('node-addon-api/package.json')));
  link(modules, path.join(stage, 'node_modules'));
}

/** Runs node-gyp there, for `arch`. */
export function buildStage(stage, arch, env) {
  const gyp = path.join(path.dirname(require.resolve('node-gyp/package.json')), 'bin/node-gyp.js');
  const headers = nodeDir();
  const args = ['configure', 'build', '-j', 'max', `--arch=${arch}`, '--loglevel=warn'];
  shown(process.execPath, [gyp, ...args, ...(headers ? [`--nodedir=${headers}`] : [])], stage, env);
}

/** Runs a program whose output is shown. */
export function shown(program, args, cwd, env = {}) {
  const { status, error } = spawnSync(program, args, {
    cwd,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env },
  });
  if (error) throw new UserError(`cannot run ${program}: ${error.message}`);
  if (status !== 0) throw new UserError(`${path.basename(program)} ${args.join(' ')} failed`);
}

function link(to, at) {
  fs.rmSync(at, { force: true });
  fs.symlinkSync(to, at);
}
