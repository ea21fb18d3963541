// Compilers for an older system than this one: Debian's packages of pinned sums, unpacked, and wrappers
// that let this machine's gcc see their headers and libraries instead of its own. What is built with
// them needs no newer symbols than they have.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fetchPinned, unpackDeb } from '../deps/fetch.mjs';
import {
  UserError,
  emptyDir,
  filesBelow,
  have,
  readIfThere,
  readJson,
  sha256,
} from '../deps/util.mjs';

export const triples = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' };
const tools = ['ar', 'nm', 'ranlib', 'strip', 'objcopy', 'readelf', 'gcc-ar'];

/** Makes the directory of wrappers for `arch` in `stage`, whose path is taken out of what is recorded. */
export function makeToolchain(root, cache, stage, arch) {
  const triple = triples[arch];
  const missing = ['gcc', 'g++', 'ar'].filter((name) => !have(`${triple}-${name}`));
  if (missing.length) {
    const packages = arch === 'arm64' ? 'crossbuild-essential-arm64' : 'g++ binutils';
    throw new UserError(
      `missing on this machine: ${missing.map((name) => `${triple}-${name}`).join(', ')}\n` +
        `install with: apt-get install ${packages}`,
    );
  }
  const sysroot = fetchSysroot(root, cache, arch);
  const dir = path.join(stage, 'toolchain');
  fs.mkdirSync(dir, { recursive: true });
  for (const [name, language] of [
    ['gcc', 'c'],
    ['g++', 'c++'],
  ]) {
    const flags = [
      `--sysroot=${sysroot}`,
      '-nostdinc',
      ...(language === 'c++' ? ['-nostdinc++'] : []),
      ...includes(`${triple}-${name}`, language, sysroot, triple).flatMap((each) => [
        '-isystem',
        each,
      ]),
      ...[`usr/lib/${triple}`, `lib/${triple}`].flatMap((each) => [
        `-B${path.join(sysroot, each)}/`,
        `-L${path.join(sysroot, each)}`,
      ]),
      `-ffile-prefix-map=${stage}/=`,
    ];
    const launcher = have('ccache') ? 'ccache ' : '';
    write(
      path.join(dir, `${triple}-${name}`),
      `#!/bin/sh\nexec ${launcher}${triple}-${name} ${flags.join(' ')} "$@"\n`,
    );
  }
  for (const tool of tools) {
    write(path.join(dir, `${triple}-${tool}`), `#!/bin/sh\nexec ${triple}-${tool} "$@"\n`);
  }
  return dir;
}

/** The compiler's own headers, but the system's from `sysroot`. */
function includes(compiler, language, sysroot, triple) {
  const { stderr } = spawnSync(compiler, ['-x', language, '-E', '-v', '-'], {
    input: '',
    encoding: 'utf8',
  });
  const listed = /<\.\.\.> search starts here:\n([^]*?)End of search list/
    .exec(stderr)[1]
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean)
    .map((each) => path.resolve(each));
  const own = listed.filter((each) => /\/c\+\+\/|\/gcc(-cross)?\/.*\/include$/.test(each));
  return [...own, path.join(sysroot, 'usr/include', triple), path.join(sysroot, 'usr/include')];
}

/** The headers and libraries themselves, fetched once. */
export function fetchSysroot(root, cache, arch) {
  const spec = readJson(path.join(root, 'scripts/prebuild/sysroot.json'));
  const dir = path.join(cache, `sysroot-${arch}`);
  const key = sha256(JSON.stringify([1, spec.packages]));
  const mark = path.join(dir, '.sha256');
  if (readIfThere(mark) === key) return dir;
  emptyDir(dir);
  for (const [name, files] of Object.entries(spec.packages)) {
    const [file, sum] = files[arch];
    const dep = {
      ...spec,
      name,
      source: { kind: 'debian-binary', package: name, suite: spec.suite },
    };
    unpackDeb(fetchPinned(dep, { file, sha256: sum }, cache, arch), dir);
  }
  mendLinks(dir, triples[arch]);
  fs.writeFileSync(mark, key);
  return dir;
}

/** Links to absolute paths would lead out of the sysroot; the linker looks for libstdc++ without its number. */
function mendLinks(dir, triple) {
  for (const file of filesBelow(dir)) {
    const full = path.join(dir, file);
    if (!fs.lstatSync(full).isSymbolicLink()) continue;
    const to = fs.readlinkSync(full);
    if (!path.isAbsolute(to)) continue;
    fs.rmSync(full);
    fs.symlinkSync(path.relative(path.dirname(full), path.join(dir, to)), full);
  }
  fs.symlinkSync('libstdc++.so.6', path.join(dir, 'usr/lib', triple, 'libstdc++.so'));
}

function write(file, text) {
  if (readIfThere(file) !== text) fs.writeFileSync(file, text);
  fs.chmodSync(file, 0o755);
}
