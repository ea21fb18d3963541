#!/usr/bin/env node
// npm run lint: formatting, types, layers. --fix formats instead of complaining.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { filesBelow, have } from './deps/util.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const fix = process.argv.includes('--fix');
const clangFormatMajor = 14;
let failed = false;

function step(name, program, args) {
  const started = Date.now();
  const result = spawnSync(program, args, { cwd: root, stdio: 'inherit' });
  const ok = result.status === 0;
  failed ||= !ok;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
}

function nativeFiles() {
  return ['native', 'test/native']
    .filter((dir) => fs.existsSync(path.join(root, dir)))
    .flatMap((dir) => filesBelow(path.join(root, dir)).map((file) => `${dir}/${file}`))
    .filter((file) => /\.(h|cc|c)$/.test(file));
}

function clangFormat() {
  if (!have('clang-format')) {
    console.log('skip clang-format: not on this machine (apt-get install clang-format)');
    return;
  }
  const version = spawnSync('clang-format', ['--version'], { encoding: 'utf8' }).stdout;
  const major = Number(/version (\d+)/.exec(version)?.[1]);
  if (major !== clangFormatMajor && !fix) {
    console.log(`skip clang-format: version ${major} formats otherwise than ${clangFormatMajor}`);
    return;
  }
  const files = nativeFiles();
  if (files.length) {
    step('clang-format', 'clang-format', [...(fix ? ['-i'] : ['--dry-run', '-Werror']), ...files]);
  }
}

const bin = (name) => {
  const { dir } = path.parse(require.resolve(`${name}/package.json`));
  const { bin } = JSON.parse(fs.readFileSync(path.join(dir, 'package.json'), 'utf8'));
  return path.join(dir, typeof bin === 'string' ? bin : bin[name === 'typescript' ? 'tsc' : name]);
};

const node = process.execPath;
step('prettier', node, [bin('prettier'), fix ? '--write' : '--check', '--log-level=warn', '.']);
clangFormat();
if (!fix) {
  step('types', node, [bin('typescript'), '--noEmit', '-p', 'tsconfig.json']);
  step('layers', node, ['scripts/layers.mjs']);
}
process.exitCode = failed ? 1 : 0;
