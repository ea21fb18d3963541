// What a binary must be to be shipped: read with readelf, which knows both architectures.
import fs from 'node:fs';
import path from 'node:path';
import { have, run, sha256, UserError } from '../deps/util.mjs';
import { floor } from './floor.mjs';
import { sourceHash } from './inputs.mjs';
import { products } from './products.mjs';

const machines = { x64: 'Advanced Micro Devices X86-64', arm64: 'AArch64' };
const libraries =
  /^(libc\.so\.6|libm\.so\.6|libdl\.so\.2|librt\.so\.1|libpthread\.so\.0|libstdc\+\+\.so\.6|libgcc_s\.so\.1|ld-linux-(x86-64|aarch64)\.so\.[12])$/;

/**
 * Checks one shared object and returns what is wrong with it and what is worth telling.
 * `exportsMap`: the version script that it must follow; `limits`: the newest versions it may need, if any.
 */
export function checkBinary(file, { arch, exportsMap, limits, stripped, host }) {
  if (!have('readelf')) throw new UserError('missing: readelf; apt-get install binutils');
  const read = (...args) => run('readelf', ['-W', ...args, file]);
  const faults = [];
  const must = (ok, text) => ok || faults.push(`${path.basename(file)}: ${text}`);

  const header = read('-h');
  must(header.includes(machines[arch]), `is not for ${arch}`);
  must(/Type:\s+DYN/.test(header), 'is no shared object');

  const symbols = dynamicSymbols(read('--dyn-syms'));
  const exported = symbols.filter((each) => each.defined).map((each) => each.name);
  if (exportsMap) compareExports(exported, exportsMap, must);
  const unversioned = symbols.filter((each) => !each.defined && !each.version && !each.weak);
  if (host) {
    const given = new Set(host);
    const lacking = unversioned.map((each) => each.name).filter((name) => !given.has(name));
    must(!lacking.length, `neither Node nor a system library has ${lacking.join(', ')}`);
  }

  const versions = highestVersions(symbols);
  for (const [family, highest] of Object.entries(versions)) {
    const limit = limits?.[family];
    must(
      !limits || (limit && compare(highest, limit) <= 0),
      `needs ${family}_${highest}, ${limit ?? 'nothing of it'} is the limit`,
    );
  }

  const dynamic = read('-d');
  const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map((match) => match[1]);
  for (const name of needed) must(libraries.test(name), `needs ${name}`);
  must(!/TEXTREL/.test(dynamic), 'has text relocations');
  must(!/\((RPATH|RUNPATH)\)/.test(dynamic), 'has a search path of its own');
  if (exportsMap) {
    must(/FLAGS_1.*NOW/.test(dynamic), 'is not bound at once (-z now)');
    must(/FLAGS_1.*NODELETE/.test(dynamic), 'can be unloaded (-z nodelete)');
  }

  // The names of the files that counts go to.
  must(!fs.readFileSync(file).includes('.gcda'), 'counts for a profile');

  const segments = read('-l');
  must(/GNU_RELRO/.test(segments), 'has no RELRO segment');
  must(/GNU_STACK\s.* RW\s/.test(segments), 'has an executable stack');
  must(!/LOAD\s.* RWE/.test(segments), 'has a segment that is writable and executable');
  const buildId = /Build ID: ([0-9a-f]+)/.exec(read('-n'))?.[1];
  must(buildId, 'has no build id');
  if (stripped) must(!/\.(symtab|debug_info)\s/.test(read('-S')), 'is not stripped');

  return {
    faults,
    versions,
    needed,
    exported: exported.length,
    buildId,
    size: fs.statSync(file).size,
  };
}

/** The files of prebuilds/linux-ARCH and their manifest. */
export function checkPrebuild(root, arch, report = () => {}) {
  const dir = path.join(root, 'prebuilds', `linux-${arch}`);
  const manifestFile = path.join(dir, 'manifest.json');
  if (!fs.existsSync(manifestFile))
    return [`prebuilds/linux-${arch} is missing: npm run prebuild ${arch}`];
  const manifest = JSON.parse(fs.readFileSync(manifestFile, 'utf8'));
  const faults = [];
  for (const name of products(root).values()) {
    if (!(name in manifest.files)) faults.push(`prebuilds/linux-${arch}/${name} is missing`);
  }
  for (const [name, sum] of Object.entries(manifest.files)) {
    const file = path.join(dir, name);
    if (!fs.existsSync(file) || sha256(fs.readFileSync(file)) !== sum) {
      faults.push(`prebuilds/linux-${arch}/${name} is not the file that its manifest tells of`);
      continue;
    }
    const result = checkBinary(file, {
      arch,
      limits: floor,
      stripped: true,
      exportsMap: name.endsWith('.node') ? path.join(root, 'native/exports.map') : undefined,
      host: name.endsWith('.node') ? nodeSymbols() : undefined,
    });
    faults.push(...result.faults);
    report(`linux-${arch}/${name}`, result);
  }
  if (manifest.sources !== sourceHash(root)) {
    faults.push(`prebuilds/linux-${arch} was made of other sources: npm run prebuild ${arch}`);
  }
  return faults;
}

/** What the running Node lets addons link to; undefined if that cannot be told from its file. */
export function nodeSymbols() {
  const symbols = dynamicSymbols(run('readelf', ['-W', '--dyn-syms', process.execPath]));
  const names = symbols.filter((each) => each.defined).map((each) => each.name);
  return names.includes('SSL_new') && names.includes('uv_run') ? names : undefined;
}

function dynamicSymbols(text) {
  const symbols = [];
  for (const line of text.split('\n')) {
    const [, bind, section, full] =
      /^\s*\d+: [0-9a-f]+\s+\S+\s+\S+\s+(\S+)\s+\S+\s+(?:\[.*\]\s+)?(\S+) (\S+)/.exec(line) ?? [];
    if (!full || bind === 'LOCAL') continue;
    const [name, version] = full.split(/@+/);
    symbols.push({ name, version, defined: section !== 'UND', weak: bind === 'WEAK' });
  }
  return symbols;
}

/** Everything exported is in the map, and every name of the map is exported. */
function compareExports(exported, mapFile, must) {
  const text = fs.readFileSync(mapFile, 'utf8').replace(/#.*/g, '');
  const entries = /global:([^]*?)local:/
    .exec(text)[1]
    .split(';')
    .map((each) => each.trim())
    .filter(Boolean);
  const matchers = entries.map((each) => new RegExp(`^${each.replaceAll('*', '.*')}$`));
  const strange = exported.filter((name) => !matchers.some((each) => each.test(name)));
  must(
    !strange.length,
    `exports what native/exports.map has not: ${strange.slice(0, 8).join(', ')}`,
  );
  for (const name of entries.filter((each) => !each.includes('*'))) {
    must(exported.includes(name), `exports no ${name}`);
  }
}

function highestVersions(symbols) {
  const highest = {};
  for (const { version, defined } of symbols) {
    const [, family, number] = /^([A-Z]+)_([0-9.]+)$/.exec(defined ? '' : (version ?? '')) ?? [];
    if (family && (!highest[family] || compare(number, highest[family]) > 0))
      highest[family] = number;
  }
  return highest;
}

function compare(a, b) {
  const [left, right] = [a, b].map((each) => each.split('.').map(Number));
  for (let i = 0; i < Math.max(left.length, right.length); ++i) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference) return difference;
  }
  return 0;
}
