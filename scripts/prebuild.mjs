#!/usr/bin/env node
// npm run prebuild: the addons that are shipped, prebuilds/linux-ARCH/ with
//   moonphase.glibc.node   the addon, as prebuildify names it and node-gyp-build finds it
//   librestysignal.so …    what lua-resty-signal and lua-resty-balancer look for beside it
//   manifest.json          what they were made of
// They are built by binding.gyp, as on a user's machine, but against the headers and libraries of an
// older Debian (scripts/prebuild/sysroot.json), each twice, the second time with the profile of a training run
// (scripts/profile), and stripped; their symbols stay in build/prebuild/symbols.
//
//   node scripts/prebuild.mjs [--plain] [x64] [arm64]      both when none is named
//
// --plain leaves the profile out, to compare; release:check refuses what it makes.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { UserError, run, sha256 } from './deps/util.mjs';
import { emulator } from './prebuild/emulator.mjs';
import { buildFloor } from './prebuild/floor.mjs';
import { checkPrebuild } from './prebuild/gate.mjs';
import { sourceHash } from './prebuild/inputs.mjs';
import { fetchNode } from './prebuild/nodes.mjs';
import { products } from './prebuild/products.mjs';
import { buildStage, makeStage, shown } from './prebuild/stage.mjs';
import { makeToolchain, triples } from './prebuild/sysroot.mjs';
import { buildWithProfile } from './profile/build.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const cache = path.resolve(process.env.MOONPHASE_DEPS_CACHE ?? path.join(root, 'build/deps'));
const plain = process.argv.includes('--plain');
const wanted = process.argv.slice(2).filter((arg) => arg !== '--plain');

try {
  for (const arch of wanted.length ? wanted : Object.keys(triples)) {
    if (!triples[arch]) throw new UserError(`no support for the architecture ${arch}`);
    await build(arch);
  }
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(`moonphase prebuild: ${error.message}`);
  process.exitCode = 1;
}

async function build(arch) {
  const started = Date.now();
  const stage = path.join(root, 'build/prebuild', arch);
  const toolchain = makeToolchain(root, cache, stage, arch);
  const tool = (name) => path.join(toolchain, `${triples[arch]}-${name}`);
  const deps = ['scripts/deps.mjs', '--arch', arch, '--toolchain', toolchain];
  shown(process.execPath, deps, root);
  const prefix = run(process.execPath, [...deps, '--print', 'prefix'], { cwd: root }).trim();

  makeStage(root, stage);
  const floor = buildFloor(root, path.join(stage, 'floor'), tool);
  const make = (flags, env) =>
    buildStage(stage, arch, {
      CC: tool('gcc'),
      CXX: tool('g++'),
      LINK: tool('g++'),
      AR: tool('ar'),
      CFLAGS: flags,
      CXXFLAGS: flags,
      LDFLAGS: `${floor.flags} ${flags}`,
      GYP_DEFINES: `deps=${prefix} floor=${floor.library}`,
      CCACHE_NOHASHDIR: '1',
      CCACHE_BASEDIR: root,
      ...env,
    });
  if (plain) {
    fs.rmSync(path.join(stage, 'build'), { recursive: true, force: true });
    make('');
  } else {
    await buildWithProfile({ root, stage, make, ...trainee(arch) });
  }

  const out = path.join(root, 'prebuilds', `linux-${arch}`);
  const symbols = path.join(root, 'build/prebuild/symbols', `linux-${arch}`);
  fs.rmSync(out, { recursive: true, force: true });
  for (const dir of [out, symbols]) fs.mkdirSync(dir, { recursive: true });
  const files = {};
  for (const [from, to] of products(root)) {
    const built = path.join(stage, 'build/Release', from);
    const debug = path.join(symbols, `${to}.debug`);
    const target = path.join(out, to);
    run(tool('objcopy'), ['--only-keep-debug', built, debug]);
    run(tool('strip'), ['--strip-unneeded', '-o', target, built]);
    run(tool('objcopy'), [`--add-gnu-debuglink=${debug}`, target]);
    fs.chmodSync(target, 0o755);
    files[to] = sha256(fs.readFileSync(target));
  }
  const manifest = {
    version: JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')).version,
    commit: commit(),
    sources: sourceHash(root),
    profile: !plain,
    compiler: run(tool('g++'), ['--version']).split('\n')[0],
    files,
  };
  fs.writeFileSync(path.join(out, 'manifest.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.error(`moonphase prebuild: prebuilds/linux-${arch} is ready (${seconds} s)`);
  const faults = checkPrebuild(root, arch);
  if (faults.length) throw new UserError(faults.join('\n'));
}

/** The commit that this was built from, with a + where files differ from it. */
function commit() {
  const git = (...args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' });
  const head = git('rev-parse', 'HEAD');
  if (head.status !== 0) return 'unknown';
  const dirty = git('status', '--porcelain', '--untracked-files=no').stdout.trim() !== '';
  return head.stdout.trim() + (dirty ? '+' : '');
}

/** Which Node trains it: another architecture's runs in an emulator. */
function trainee(arch) {
  const emulated = emulator(root, cache, arch);
  if (!emulated.length) return { node: [process.execPath] };
  const node = path.join(fetchNode(root, cache, arch, '20'), 'bin/node');
  return { node: [...emulated, node], emulated: true };
}
