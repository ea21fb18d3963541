#!/usr/bin/env node
// Fetches, checks and builds what the addon links (deps/*.json), once.
//
//   node scripts/deps.mjs [--arch x64|arm64] [--variant release|check] [--print prefix] [--force]
//                         [--toolchain DIR]
//
// DIR holds TRIPLE-gcc and so on, which are used instead of the machine's (scripts/prebuild.mjs makes
// one for an older system); what they build is kept apart, below ARCH-prebuild.
// The result lies in build/deps/ARCH (MOONPHASE_DEPS_CACHE names another directory instead of
// build/deps, which several checkouts may share): include/, lib/, lua/. The Lua files are copied to
// lualib/, the runtime's default Lua path. A second run finds everything there and says nothing.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build, joins, toolchain } from './deps/build.mjs';
import { fetchPinned, unpackDeb } from './deps/fetch.mjs';
import {
  UserError,
  emptyDir,
  filesBelow,
  have,
  readIfThere,
  readJson,
  run,
  say,
  sha256,
  withLock,
} from './deps/util.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const cache = path.resolve(process.env.MOONPHASE_DEPS_CACHE ?? path.join(root, 'build/deps'));

const { values: options } = parseArgs({
  options: {
    arch: { type: 'string', default: process.env.npm_config_arch ?? process.arch },
    variant: { type: 'string', default: 'release' },
    print: { type: 'string' },
    force: { type: 'boolean', default: false },
    toolchain: { type: 'string' },
  },
});
const { arch } = options;
const prefix = path.join(cache, options.toolchain ? `${arch}-prebuild` : arch);

try {
  if (!['x64', 'arm64'].includes(arch)) {
    throw new UserError(`no support for the architecture ${arch}: x64 and arm64 are supported`);
  }
  if (options.print === 'prefix') {
    process.stdout.write(prefix);
  } else {
    await main();
  }
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  say(error.message);
  process.exitCode = 1;
}

async function main() {
  const steps = readSteps();
  const pending = () => steps.filter((step) => options.force || !isDone(step));
  if (pending().length) {
    await withLock(cache, async () => {
      const todo = pending();
      if (todo.length) checkTools(todo);
      for (const [i, step] of todo.entries()) await make(step, `[${i + 1}/${todo.length}]`);
    });
  }
  copyLua(steps);
}

/** One step per library, and one more where a debug build needs its own variant. */
function readSteps() {
  const dir = path.join(root, 'deps');
  return fs
    .readdirSync(dir)
    .filter((file) => file.endsWith('.json'))
    .sort()
    .flatMap((file) => {
      const dep = readJson(path.join(dir, file));
      const variants =
        dep.name === 'luajit' && options.variant === 'check' ? ['release', 'check'] : ['release'];
      return variants.map((variant) => {
        const local = process.env[dep.env] && path.resolve(process.env[dep.env]);
        if (local && !fs.existsSync(local)) {
          throw new UserError(`${dep.env}=${local}: there is no such directory`);
        }
        const { version, recipe, source } = dep;
        const parts = [version, recipe, source, arch, variant, local ?? null];
        if (dep.name === 'luajit') parts.push(joins(toolchain(arch, options.toolchain)));
        const key = sha256(JSON.stringify(parts));
        return { dep, variant, local, key, stamp: path.join(prefix, `.${dep.name}-${variant}`) };
      });
    });
}

function isDone(step) {
  return readIfThere(step.stamp) === step.key;
}

/** Names every missing part of the toolchain at once, with the line that installs it. */
function checkTools(steps) {
  const tools = toolchain(arch, options.toolchain);
  const wanted = [
    [tools.cxx, tools.native ? 'g++' : `g++-${tools.triple.replace('_', '-')}`],
    [tools.cc, tools.native ? 'gcc' : `gcc-${tools.triple.replace('_', '-')}`],
    ['gcc', 'gcc'],
    [tools.ar, tools.native ? 'binutils' : `binutils-${tools.triple.replace('_', '-')}`],
    ['make', 'make'],
    ['python3', 'python3'],
    ['tar', 'tar'],
    ['xz', 'xz-utils'],
  ];
  if (steps.some((step) => !step.local)) wanted.push(['apt-get', 'apt']);
  const missing = wanted.filter(([program]) => !have(program) && !path.isAbsolute(program));
  if (missing.length) {
    const packages = [...new Set(missing.map(([, name]) => name))].join(' ');
    throw new UserError(
      `missing on this machine: ${missing.map(([program]) => program).join(', ')}\n` +
        `install with: apt-get install ${packages}`,
    );
  }
  try {
    run(tools.cxx, ['-std=c++20', '-fsyntax-only', '-x', 'c++', '-'], {
      input: '#include <span>\n#include <string_view>\nstatic_assert(__cplusplus >= 202002L);\n',
    });
  } catch {
    throw new UserError(
      `${tools.cxx} does not compile C++20; g++ 10 or newer does\ninstall with: apt-get install g++`,
    );
  }
}

async function make(step, progress) {
  const { dep, variant } = step;
  const title = `${dep.title} ${step.local ? `from ${step.local}` : dep.version}`;
  say(`${progress} ${title}${variant === 'release' ? '' : ` (${variant})`}`);
  const started = Date.now();
  const source = step.local ?? unpack(dep);
  for (const [file, text] of dep.contains) checkContains(dep, source, file, text);
  await build(dep, { source, cache, prefix, arch, variant, toolchain: options.toolchain });
  fs.writeFileSync(step.stamp, step.key);
  say(`${progress} ${dep.name} is ready (${((Date.now() - started) / 1000).toFixed(1)} s)`);
}

/** The pinned archive, fetched, checked and unpacked; the single top directory is stripped. */
function unpack(dep) {
  const binary = dep.source.kind === 'debian-binary';
  const pinned = binary ? dep.source[arch] : dep.source;
  const archive = fetchPinned(dep, pinned, cache, arch);
  const dir = path.join(cache, 'src', `${dep.name}-${dep.version}${binary ? `-${arch}` : ''}`);
  const mark = path.join(dir, '.sha256');
  if (readIfThere(mark) === pinned.sha256) return dir;
  emptyDir(dir);
  if (binary) {
    unpackDeb(archive, dir);
  } else {
    run('tar', ['-xf', archive, '--strip-components=1', '-C', dir]);
  }
  fs.writeFileSync(mark, pinned.sha256);
  return dir;
}

/** A local copy may be anything: LuaJIT without OpenResty's extensions would fail much later. */
function checkContains(dep, source, file, text) {
  const files = file.startsWith('**/')
    ? filesBelow(source).filter((each) => path.basename(each) === file.slice(3))
    : [file];
  if (!files.some((each) => readIfThere(path.join(source, each)).includes(text))) {
    throw new UserError(`${source} is not ${dep.title}: ${file} has no ${text}`);
  }
}

/** Brings lualib/ of this checkout in step with the cache. */
function copyLua(steps) {
  const lualib = path.join(root, 'lualib');
  const stamp = path.join(lualib, '.stamp');
  const key = sha256(steps.map((step) => step.key).join() + prefix);
  if (readIfThere(stamp) === key) return;
  emptyDir(lualib);
  fs.cpSync(path.join(prefix, 'lua'), lualib, { recursive: true });
  fs.writeFileSync(stamp, key);
}
