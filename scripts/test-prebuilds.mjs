#!/usr/bin/env node
// npm run test:prebuilds, npm run test:arm64: packs, installs the file into an empty project and runs
// test/package/core.mjs there with the real Node binaries of npm; arm64's under qemu-user.
//   node scripts/test-prebuilds.mjs [x64|arm64] [MAJOR…]
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { UserError } from './deps/util.mjs';
import { emulator } from './prebuild/emulator.mjs';
import { fetchNode, majors } from './prebuild/nodes.mjs';
import { installInto, pack } from './prebuild/pack.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const cache = path.resolve(process.env.MOONPHASE_DEPS_CACHE ?? path.join(root, 'build/deps'));
const [arch = process.arch, ...named] = process.argv.slice(2);
// Under qemu the tests take ten times as long: the oldest and the newest long-term version will do.
const wanted = named.length ? named : arch === process.arch ? majors(root, arch) : ['20', '24'];

try {
  main();
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(`moonphase: ${error.message}`);
  process.exitCode = 1;
}

function main() {
  const emulated = emulator(root, cache, arch);
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'moonphase-package-'));
  try {
    const packed = pack(root, dir);
    const project = path.join(dir, 'project');
    const installed = installInto(project, packed.file);
    console.log(`${packed.filename}: ${(packed.size / 1e6).toFixed(2)} MB`);
    let passed = 0;
    let failed = 0;
    for (const major of wanted) {
      const node = path.join(fetchNode(root, cache, arch, major), 'bin/node');
      const [program, ...args] = [
        ...emulated,
        node,
        path.join(root, 'test/package/core.mjs'),
        installed,
      ];
      const started = Date.now();
      const { stdout, stderr, signal } = spawnSync(program, args, {
        encoding: 'utf8',
        timeout: 600_000,
      });
      const [, good, bad] = /^(\d+) passed, (\d+) failed/m.exec(stdout) ?? [undefined, 0, 1];
      passed += Number(good);
      failed += Number(bad);
      const seconds = ((Date.now() - started) / 1000).toFixed(1);
      console.log(`Node ${major} ${arch}: ${good} passed, ${bad} failed (${seconds} s)`);
      if (Number(bad)) console.log(stdout.replace(/^ok .*\n/gm, ''), stderr, signal ?? '');
    }
    console.log(`${passed} passed, ${failed} failed, 0 skipped`);
    process.exitCode = failed || !passed ? 1 : 0;
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}
