#!/usr/bin/env node
// npm run release:check: everything that a release must have, docs/releasing.md in one command. Prints one
// line per check and fails if anything is missing. Nothing is published.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { readIfThere, readJson } from './deps/util.mjs';
import { checkPrebuild } from './prebuild/gate.mjs';
import { pack } from './prebuild/pack.mjs';
import { products } from './prebuild/products.mjs';
import { triples } from './prebuild/sysroot.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const read = (file) => readIfThere(path.join(root, file));
const about = readJson(path.join(root, 'package.json'));
const lock = readJson(path.join(root, 'package-lock.json'));
const { version } = about;
const largest = 8e6;

const git = (...args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout.trim();
const checks = {
  'version is semantic, and the same in package-lock.json': () => [
    !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version) && `${version} is no semantic version`,
    lock.version !== version && `package-lock.json has ${lock.version}`,
    lock.packages['']?.version !== version && 'package-lock.json has another version of the root',
  ],
  'CHANGELOG.md tells of it, with a date': () => {
    const [, rest] =
      new RegExp(`^## ${version.replaceAll('.', '\\.')}\\b(.*)$`, 'm').exec(read('CHANGELOG.md')) ??
      [];
    return [
      rest === undefined && `no section "## ${version}"`,
      rest !== undefined && !/\d{4}-\d{2}-\d{2}/.test(rest) && `"## ${version}${rest}" has no date`,
    ];
  },
  'nothing is uncommitted': () => [git('status', '--porcelain') && 'git status is not clean'],
  ...Object.fromEntries(
    Object.keys(triples).map((arch) => [
      `prebuilds/linux-${arch} passes the gate and is of this commit`,
      () => [...checkPrebuild(root, arch), ...provenance(arch)],
    ]),
  ),
  'licences of all that is linked or shipped': () =>
    licences().map((file) => !read(file) && `${file} is missing`),
  'the package holds what it must, and not more': packageContents,
  'docs/installing.md and docs/releasing.md': () => [
    !read('docs/installing.md') && 'docs/installing.md is missing',
    !read('docs/releasing.md') && 'docs/releasing.md is missing',
  ],
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  const faults = check().filter(Boolean);
  console.log(`${faults.length ? 'FAIL' : 'ok  '} ${name}`);
  for (const fault of faults) console.log(`       ${fault}`);
  failed += faults.length ? 1 : 0;
}
console.log(`${Object.keys(checks).length - failed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;

/** Who made a binary, of what: its manifest. */
function provenance(arch) {
  const file = `prebuilds/linux-${arch}/manifest.json`;
  if (!read(file)) return [];
  const made = JSON.parse(read(file));
  return [
    made.version !== version && `${file} is of version ${made.version}`,
    made.profile !== true && `${file}: it was built without a profile (--plain)`,
    made.commit.endsWith('+') && `${file}: it was built with files that were not committed`,
    made.commit !== git('rev-parse', 'HEAD') &&
      `${file}: it was built of ${made.commit.slice(0, 12)}`,
  ];
}

function licences() {
  const files = fs.readdirSync(path.join(root, 'deps')).filter((file) => file.endsWith('.json'));
  return [
    'LICENSE',
    ...files.map((file) => `deps/${readJson(path.join(root, 'deps', file)).licenceFile}`),
  ];
}

function packageContents() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'moonphase-release-'));
  try {
    const packed = pack(root, dir);
    const names = new Set(packed.files.map((each) => each.path));
    const wanted = [
      ...['package.json', 'README.md', 'CHANGELOG.md', 'binding.gyp', 'scripts/install.mjs'],
      ...[
        'dist/index.js',
        'dist/index.cjs',
        'dist/index.d.ts',
        'dist/index.d.cts',
        'dist/cli/nginx.cjs',
      ],
      ...[
        'lualib/resty/core.lua',
        'lualib/resty/lrucache.lua',
        'lualib/jit/vmdef.lua',
        'native/sources.txt',
      ],
      ...Object.keys(triples).flatMap((arch) =>
        [...products(root).values()].map((name) => `prebuilds/linux-${arch}/${name}`),
      ),
      ...licences(),
      ...Object.values(about.bin),
    ];
    const unwanted =
      /^(test|bench|build|examples|node_modules)\/|(\.[cm]?[jt]s\.map|\.(tsbuildinfo|o|a|debug|log))$/;
    const megabytes = (packed.size / 1e6).toFixed(2);
    console.log(`     ${packed.filename}: ${megabytes} MB, ${names.size} files`);
    return [
      ...wanted.map((name) => !names.has(name) && `${name} is not in it`),
      ...[...names].map((name) => unwanted.test(name) && `${name} is in it`),
      ...Object.values(about.bin).map((name) => !executable(name) && `${name} cannot be executed`),
      packed.size > largest && `${megabytes} MB are more than ${largest / 1e6} MB`,
    ];
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

function executable(file) {
  return (fs.statSync(path.join(root, file)).mode & 0o111) !== 0;
}
