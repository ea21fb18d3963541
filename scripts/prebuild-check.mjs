#!/usr/bin/env node
// npm run prebuild:check: the gate for what is shipped. Prints what each binary needs and fails on
// anything that it must not be.
//   node scripts/prebuild-check.mjs [x64] [arm64]   prebuilds/linux-ARCH; both when none is named
//   node scripts/prebuild-check.mjs --built         build/Release, made for this machine: no limit of versions
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { UserError } from './deps/util.mjs';
import { checkBinary, checkPrebuild, nodeSymbols } from './prebuild/gate.mjs';
import { triples } from './prebuild/sysroot.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const args = process.argv.slice(2);

try {
  const faults = args.includes('--built') ? built() : prebuilt(args);
  for (const fault of faults) console.error(`FAIL ${fault}`);
  process.exitCode = faults.length ? 1 : 0;
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(`moonphase prebuild: ${error.message}`);
  process.exitCode = 1;
}

function prebuilt(archs) {
  return (archs.length ? archs : Object.keys(triples)).flatMap((arch) =>
    checkPrebuild(root, arch, report),
  );
}

function built() {
  const file = path.join(root, 'build/Release/moonphase.node');
  const result = checkBinary(file, {
    arch: process.arch,
    exportsMap: path.join(root, 'native/exports.map'),
    host: nodeSymbols(),
  });
  report('build/Release/moonphase.node', result);
  return result.faults;
}

function report(name, { versions, needed, exported, buildId, size }) {
  const newest = Object.entries(versions).map(([family, number]) => `${family} ${number}`);
  console.log(`${name}: ${(size / 1e6).toFixed(2)} MB, build id ${buildId}`);
  console.log(`  needs ${newest.join(', ')}; ${needed.join(' ')}; exports ${exported} symbols`);
}
