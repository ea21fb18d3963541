#!/usr/bin/env node
// Checks the two include tables of the design (native folders with their foreign headers, the
// TypeScript import order) and that some calls stand in one file only; reports files that have
// grown too long. native/README.md has the table for people; this is the one that counts, and the
// two have to agree.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { filesBelow } from './deps/util.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** A native folder: the folders that it may include besides itself, and the foreign headers. */
const native = {
  base: { folders: [], foreign: [] },
  shm: { folders: ['base'], foreign: ['pthread', 'mman'] },
  net: { folders: ['base'], foreign: ['uv', 'openssl'] },
  lua: { folders: ['base'], foreign: ['lua'] },
  http: { folders: ['base', 'net'], foreign: ['llhttp', 'zlib', 'nghttp2'] },
  engine: { folders: ['base', 'shm', 'net', 'http', 'lua'], foreign: ['lua', 'pcre2'] },
  ngx: {
    folders: ['base', 'shm', 'net', 'http', 'lua', 'engine'],
    foreign: ['lua', 'pcre2', 'openssl', 'yyjson'],
  },
  bind: {
    folders: ['base', 'shm', 'net', 'http', 'lua', 'engine', 'ngx'],
    foreign: ['napi', 'uv', 'lua', 'pthread', 'mman'],
  },
};

const foreignHeaders = {
  pthread: /^(pthread|semaphore)\.h$/,
  mman: /^sys\/mman\.h$/,
  uv: /^uv(\/.*)?\.h$/,
  openssl: /^openssl\//,
  lua: /^(lua\.hpp|lua\.h|lauxlib\.h|lualib\.h|luaconf\.h|luajit\.h)$/,
  llhttp: /^llhttp\.h$/,
  zlib: /^(zlib|zconf)\.h$/,
  pcre2: /^pcre2\.h$/,
  yyjson: /^yyjson\.h$/,
  nghttp2: /^nghttp2\//,
  brotli: /^brotli\//,
  napi: /^(napi|node_api|js_native_api|node|v8)(-inl)?\.h$/,
};

/** Calls that have one home, so that what they do is done in one way. */
const singleHome = [
  { call: /\buv_close\s*\(/, home: /^net\/handle\./ },
  { call: /\b(lua_resume|lua_pcall|lua_cpcall)\s*\(/, home: /^lua\/call\./ },
];

/** TypeScript, from left to right; a folder imports itself, its own column and what is left. */
const columns = [
  ['errors'],
  ['conf', 'js', 'codec', 'load-advice'],
  ['binding'],
  ['phases', 'metrics', 'luavm', 'types'],
  ['adapters'],
  ['gateway', 'vm'],
  ['cluster'],
  ['cli'],
];
const column = (name) => columns.findIndex((names) => names.includes(name));

const longest = { native: 500, lib: 600 };

const problems = [];
const long = [];

for (const file of sources('native', /\.(h|cc|c)$/)) checkNative(file);
for (const file of sources('lib', /\.[cm]?ts$/)) checkTypeScript(file);
checkTableForPeople();

for (const { file, lines, limit } of long) {
  console.log(`note: ${file} has ${lines} lines (aim: ${limit})`);
}
for (const problem of problems) console.error(problem);
process.exitCode = problems.length ? 1 : 0;

function checkTableForPeople() {
  const text = fs.readFileSync(path.join(root, 'native/README.md'), 'utf8');
  for (const [folder, { folders, foreign }] of Object.entries(native)) {
    const row = new RegExp(`^\\| *\`${folder}\` *\\|([^|]*)\\|([^|]*)\\|$`, 'm').exec(text);
    const problem = (what) => problems.push(`native/README.md: ${folder}: ${what}`);
    if (!row) {
      problem('has no row in the include table');
      continue;
    }
    const may = row[1].trim();
    const below = folder === 'bind' ? 'all' : folders.length === 0 ? '–' : folders.join(', ');
    if (may !== below && !(folder === 'ngx' && may === 'engine and all below')) {
      problem(`may include "${may}" there, "${below}" here`);
    }
    const missing = foreign.filter((name) => !row[2].includes(name));
    if (missing.length > 0) problem(`${missing.join(', ')} may be included, too`);
  }
}

function sources(dir, pattern) {
  const full = path.join(root, dir);
  if (!fs.existsSync(full)) return [];
  return filesBelow(full).filter((file) => pattern.test(file));
}

function read(dir, file) {
  const text = fs.readFileSync(path.join(root, dir, file), 'utf8');
  const lines = text.split('\n').length - 1;
  const limit = longest[dir];
  if (lines > limit) long.push({ file: `${dir}/${file}`, lines, limit });
  return text;
}

function checkNative(file) {
  const text = read('native', file);
  const folder = file.split('/')[0];
  const rule = native[folder];
  const where = (line) => `native/${file}:${line}`;
  if (!rule) {
    problems.push(`native/${file}: the folder "${folder}" is not in the include table`);
    return;
  }
  for (const [i, line] of text.split('\n').entries()) {
    const [, kind, header] = /^\s*#\s*include\s*([<"])([^>"]+)[>"]/.exec(line) ?? [];
    if (kind === '"') {
      const target = header.split('/')[0];
      if (!(target in native)) {
        problems.push(`${where(i + 1)}: "${header}" is not a path below native/`);
      } else if (target !== folder && !rule.folders.includes(target)) {
        problems.push(`${where(i + 1)}: ${folder} may not include ${target} ("${header}")`);
      }
    } else if (kind === '<') {
      for (const [name, pattern] of Object.entries(foreignHeaders)) {
        if (pattern.test(header) && !rule.foreign.includes(name)) {
          problems.push(`${where(i + 1)}: ${folder} may not include <${header}>`);
        }
      }
    }
  }
  for (const [i, line] of withoutComments(text).split('\n').entries()) {
    for (const { call, home } of singleHome) {
      const found = call.exec(line);
      if (found && !home.test(file)) {
        const name = found[0].replace(/\s*\($/, '');
        problems.push(
          `${where(i + 1)}: ${name} belongs into ${home.source.replace(/[\^\\]/g, '')}*`,
        );
      }
    }
  }
}

function checkTypeScript(file) {
  const text = withoutComments(read('lib', file), /['"`]/);
  const folder = file.split('/')[0].replace(/\.[cm]?ts$/, '');
  const own = column(folder);
  if (own < 0 && folder !== 'index') {
    problems.push(`lib/${file}: "${folder}" is not in the import order`);
    return;
  }
  const imports =
    /\b(?:import|export)\b[^'";]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\s*\(?\s*['"]([^'"]+)['"]/g;
  for (const match of text.matchAll(imports)) {
    const target = match[1] ?? match[2];
    const line = text.slice(0, match.index).split('\n').length;
    if (/\.node$|^node-gyp-build$/.test(target) && folder !== 'binding') {
      problems.push(`lib/${file}:${line}: only binding loads the addon (${target})`);
    }
    if (!target.startsWith('.')) continue;
    const resolved = path.posix.join(path.posix.dirname(file), target);
    if (resolved.startsWith('..')) continue;
    const name = resolved.split('/')[0].replace(/\.[cm]?js$/, '');
    const other = column(name);
    if (name === folder || own < 0) continue;
    if (folder === 'conf' && name !== 'errors') {
      problems.push(`lib/${file}:${line}: conf imports only errors, not ${name}`);
    } else if (other < 0 || other > own) {
      problems.push(`lib/${file}:${line}: ${folder} may not import ${name}`);
    }
  }
}

/** The text with comments and string literals blanked, lines kept. */
function withoutComments(text, keepStrings) {
  return text.replace(
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[\s\S]|[^`\\])*`/g,
    (match) => (keepStrings && match[0] !== '/' ? match : match.replace(/[^\n]/g, ' ')),
  );
}
