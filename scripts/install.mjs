#!/usr/bin/env node
// npm's install script: nothing to do where a prebuilt addon fits, else fetch, check and build.
//   --build     builds in any case (npm run build:native)
//   --profile   builds twice, the second time with the profile of a training run, as prebuilt addons are made; in a
//               checkout only (npm run build:profiled)
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeDir } from './node-dir.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const arch = process.env.npm_config_arch ?? process.arch;
const forced =
  process.argv.includes('--build') || process.env.npm_config_build_from_source === 'true';

if (process.argv.includes('--profile')) await buildProfiled();
else if (forced || !prebuilt()) build();

/** The prebuilt addon for this platform, or undefined. */
function prebuilt() {
  try {
    process.env.PREBUILDS_ONLY = '1';
    return require('node-gyp-build').resolve(root);
  } catch {
    return undefined;
  }
}

function build() {
  run(process.execPath, [path.join(root, 'scripts/deps.mjs'), '--arch', arch]);
  const [program, ...args] = nodeGyp();
  args.push('configure', 'build', '-j', 'max', `--arch=${arch}`, '--loglevel=warn');
  const headers = nodeDir();
  if (headers) args.push(`--nodedir=${headers}`);
  console.error('moonphase: building the addon');
  const started = Date.now();
  run(program, args, crossTools());
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.error(`moonphase: build/Release/moonphase.node is ready (${seconds} s)`);
}

/** What runs nowhere but in a checkout is not loaded before. */
async function buildProfiled() {
  const { buildWithProfile } = await import('./profile/build.mjs');
  const { products } = await import('./prebuild/products.mjs');
  const { buildStage, makeStage } = await import('./prebuild/stage.mjs');
  run(process.execPath, [path.join(root, 'scripts/deps.mjs'), '--arch', process.arch]);
  const stage = path.join(root, 'build/profiled');
  const started = Date.now();
  makeStage(root, stage);
  const make = (flags, env) =>
    buildStage(stage, process.arch, { CFLAGS: flags, CXXFLAGS: flags, LDFLAGS: flags, ...env });
  try {
    await buildWithProfile({ root, stage, make, node: [process.execPath] });
  } catch (error) {
    console.error(`moonphase: ${error.message}`);
    process.exit(1);
  }
  const release = path.join(root, 'build/Release');
  fs.mkdirSync(release, { recursive: true });
  for (const name of products(root).keys()) {
    fs.rmSync(path.join(release, name), { force: true });
    fs.copyFileSync(path.join(stage, 'build/Release', name), path.join(release, name));
  }
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.error(`moonphase: build/Release/moonphase.node is ready, with a profile (${seconds} s)`);
}

function crossTools() {
  if (arch === process.arch) return {};
  const prefix = { x64: 'x86_64-linux-gnu-', arm64: 'aarch64-linux-gnu-' }[arch];
  return { CC: `${prefix}gcc`, CXX: `${prefix}g++`, AR: `${prefix}ar`, LINK: `${prefix}g++` };
}

/** Our own node-gyp in a checkout; the one that npm brings otherwise. */
function nodeGyp() {
  const own = path.join(root, 'node_modules/node-gyp/bin/node-gyp.js');
  const script = fs.existsSync(own) ? own : process.env.npm_config_node_gyp;
  return script ? [process.execPath, script] : ['node-gyp'];
}

function run(program, args, env = {}) {
  const result = spawnSync(program, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  if (result.error) console.error(`moonphase: cannot run ${program}: ${result.error.message}`);
  if (result.status !== 0) process.exit(result.status || 1);
}
