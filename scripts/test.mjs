#!/usr/bin/env node
// npm test: runs the tests with tap and ends with the line `N passed, N failed, N skipped`.
//   node scripts/test.mjs [--jobs=N] [--timeout=SECONDS] [files or folders below test/]
// Test files are test/**/*.test.ts (or .mjs); they import lib/ directly and get the addon that
// lib/binding finds (MOONPHASE_ADDON, a prebuild, build/Release).
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { filesBelow, have } from './deps/util.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const flags = process.argv.slice(2).filter((arg) => arg.startsWith('--'));
const wanted = process.argv.slice(2).filter((arg) => !arg.startsWith('--'));

const isTest = (file) => /\.test\.(ts|mts|mjs|js)$/.test(file);

function testFiles(place) {
  const full = path.resolve(root, place);
  if (!fs.existsSync(full)) {
    console.error(`${place}: no such file or folder`);
    process.exit(2);
  }
  if (fs.statSync(full).isFile()) return [path.relative(root, full)];
  return filesBelow(full)
    .filter(isTest)
    .map((file) => path.relative(root, path.join(full, file)));
}

const files = (wanted.length ? wanted : ['test']).flatMap(testFiles);
if (!files.length) {
  console.error('no test files found');
  process.exit(1);
}

if (!wanted.length) installPackages();
buildNativeTests();

const output = path.join(root, 'build', 'test.tap');
fs.mkdirSync(path.dirname(output), { recursive: true });
const jobs = flags.some((flag) => flag.startsWith('--jobs'))
  ? []
  : [`--jobs=${os.availableParallelism?.() ?? 2}`];
const tap = path.join(path.dirname(require.resolve('tap/package.json')), 'dist/esm/run.mjs');
const terminal = process.stdout.isTTY;
const child = spawn(
  process.execPath,
  [
    tap,
    'run',
    '--disable-coverage',
    '--allow-empty-coverage',
    `--reporter=${terminal ? 'base' : 'tap'}`,
    ...(terminal ? [`--output-file=${output}`] : []),
    ...jobs,
    ...flags,
    ...files,
  ],
  {
    cwd: root,
    stdio: ['ignore', terminal ? 'inherit' : 'pipe', 'inherit'],
    env: { ...process.env, TAP_TIMEOUT: process.env.TAP_TIMEOUT ?? '120' },
  },
);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
if (child.stdout) showPlainly(child.stdout);
child.on('close', (code) => {
  const { passed, failed, skipped } = count(fs.readFileSync(output, 'utf8'));
  const broken = code !== 0 && failed === 0 ? 1 : 0;
  console.log(`\n${passed} passed, ${failed + broken} failed, ${skipped} skipped`);
  process.exitCode = code === 0 && passed > 0 ? 0 : 1;
});

/** For logs: one line per test file, and of a file that failed what is not a passed point. */
function showPlainly(stream) {
  let block = [];
  fs.writeFileSync(output, '');
  stream.on('data', (data) => fs.appendFileSync(output, data));
  readline.createInterface({ input: stream }).on('line', (line) => {
    const [, not, name, time] =
      /^(not )?ok \d+ - (.*?)(?: # time=(\S+?))?(?: \{)?$/.exec(line) ?? [];
    if (name === undefined) {
      if (line.trim()) block.push(line);
      return;
    }
    console.log(`${not ? 'FAIL' : 'ok  '} ${name}${time ? ` (${time})` : ''}`);
    if (not)
      console.log(block.filter((each) => !/^\s*(ok \d|\d+\.\.\d|# time=)/.test(each)).join('\n'));
    block = [];
  });
}

/** What the tests talk to. Where it cannot be installed they skip and say so, but never in CI. */
function installPackages() {
  if (process.env.MOONPHASE_INSTALL_PACKAGES === '0' || !have('apt-get')) return;
  const script = path.join(root, 'scripts/install-test-packages.sh');
  const installed = spawnSync(script, { stdio: 'inherit', env: unsanitized() });
  if (installed.status === 0) return;
  if (process.env.CI) process.exit(1);
  console.error('tests that need one of these will be skipped');
}

/** What is built and installed on the way needs no sanitizer in it. */
function unsanitized() {
  const { LD_PRELOAD: _, ...env } = process.env;
  return env;
}

/** The programs that test/native/native.test.mjs runs; without CMake it skips them and says so. */
function buildNativeTests() {
  if (process.env.MOONPHASE_SANITIZER) return; // they are sanitized elsewhere
  if (!files.includes('test/native/native.test.mjs') || !have('cmake') || !have('ninja')) return;
  const built = spawnSync(path.join(root, 'scripts/dev-build.sh'), ['native-tests'], {
    stdio: 'inherit',
    env: unsanitized(),
  });
  if (built.status !== 0) process.exit(1);
}

/** What tap says at its end: `# { total: 7, pass: 5, fail: 1, todo: 1, skip: 1 }`. */
function count(text) {
  const summary = text.match(/^# \{ total: .*\}$/gm)?.at(-1) ?? '';
  const of = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(summary)?.[1] ?? 0);
  return { passed: of('pass'), failed: of('fail'), skipped: of('skip') + of('todo') };
}
