// How each dependency becomes a static library or a set of Lua files below PREFIX:
//   include/  lib/  lua/        and lib/check/ for the LuaJIT with assertions of debug builds
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {
  UserError,
  emptyDir,
  filesBelow,
  have,
  readIfThere,
  readJson,
  run,
  runAll,
} from './util.mjs';

const jobs = os.availableParallelism?.() ?? os.cpus().length;

/** The compiler, archiver and LuaJIT's CROSS prefix for a target architecture; `dir` holds others than the machine's. */
export function toolchain(arch, dir) {
  const native = arch === process.arch && !dir;
  const triple = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[arch];
  const cross = native ? '' : dir ? path.join(dir, `${triple}-`) : `${triple}-`;
  return {
    native,
    triple,
    cross,
    cc: (native && process.env.CC) || `${cross}gcc`,
    cxx: (native && process.env.CXX) || `${cross}g++`,
    ar: (native && process.env.AR) || `${cross}ar`,
  };
}

/**
 * The version of the compiler, where LuaJIT's and the addon's are the same gcc: then LuaJIT's C functions are joined with the
 * addon's at link time, for which both must be of one version. Empty: they are not.
 */
export function joins(tools) {
  const version = (program) => {
    try {
      return run(program, ['-dumpfullversion']).trim();
    } catch {
      return '';
    }
  };
  const archiver = `${tools.cross}gcc-ar`;
  if (!(path.isAbsolute(archiver) ? fs.existsSync(archiver) : have(archiver))) return '';
  const luajit = version(`${tools.cross}gcc`);
  return luajit === version(tools.cxx) ? luajit : '';
}

const optimise = ['-O2', '-g', '-fPIC', '-fvisibility=hidden', '-DNDEBUG'];

async function staticLibrary(sources, flags, { work, tools, library }) {
  const objects = sources.map((source) => path.join(work, `${path.parse(source).name}.o`));
  await runAll(
    sources.map((source, i) => [
      tools.cc,
      ['-std=gnu11', ...optimise, ...flags, '-c', source, '-o', objects[i]],
    ]),
    jobs,
  );
  fs.mkdirSync(path.dirname(library), { recursive: true });
  fs.rmSync(library, { force: true });
  run(tools.ar, ['rcs', library, ...objects]);
}

const luajitFlags = {
  release: '-DLUAJIT_ENABLE_LUA52COMPAT -DLUAJIT_ENABLE_GC64',
  // The system's allocator lets AddressSanitizer see Lua's memory; the rest are LuaJIT's own checks.
  check:
    '-DLUAJIT_ENABLE_LUA52COMPAT -DLUAJIT_ENABLE_GC64 -DLUAJIT_USE_SYSMALLOC -DLUA_USE_APICHECK -DLUA_USE_ASSERT',
};

async function buildLuajit({ source, work, prefix, tools, variant }) {
  fs.cpSync(source, work, { recursive: true, preserveTimestamps: true });
  const src = path.join(work, 'src');
  const joined = variant === 'release' && joins(tools);
  run(
    'make',
    [
      '-C',
      src,
      `-j${jobs}`,
      'libluajit.a',
      'jit/vmdef.lua',
      'BUILDMODE=static',
      `CC=gcc`,
      `HOST_CC=gcc`,
      `CROSS=${tools.cross}`,
      `XCFLAGS=${luajitFlags[variant]}`,
      `TARGET_CFLAGS=-fPIC ${joined ? '-flto -ffat-lto-objects -fno-semantic-interposition' : ''}`,
      `TARGET_AR=${tools.cross}${joined ? 'gcc-ar' : 'ar'} rcs`,
      'Q=',
    ],
    { env: { MAKEFLAGS: '', CFLAGS: '', LDFLAGS: '', GIT: 'false' } },
  );
  const lib = variant === 'release' ? 'lib' : `lib/${variant}`;
  fs.mkdirSync(path.join(prefix, lib), { recursive: true });
  fs.copyFileSync(path.join(src, 'libluajit.a'), path.join(prefix, lib, 'libluajit.a'));
  if (variant !== 'release') return;
  for (const header of ['lua.h', 'lauxlib.h', 'lualib.h', 'luaconf.h', 'luajit.h', 'lua.hpp']) {
    install(path.join(src, header), path.join(prefix, 'include', header));
  }
  for (const file of filesBelow(path.join(src, 'jit'))) {
    if (file.endsWith('.lua')) {
      install(path.join(src, 'jit', file), path.join(prefix, 'lua/jit', file));
    }
  }
  if (!fs.existsSync(path.join(prefix, 'lua/jit/vmdef.lua'))) {
    throw new UserError('LuaJIT was built without jit/vmdef.lua');
  }
}

// The list of PCRE2's NON-AUTOTOOLS-BUILD, step 4.
const pcre2Sources =
  'auto_possess chkdint chartables compile compile_class config context convert dfa_match error extuni find_bracket jit_compile maketables match match_data newline ord2utf pattern_info script_run serialize string_utils study substitute substring tables ucd valid_utf xclass'.split(
    ' ',
  );

async function buildPcre2({ source, work, prefix, tools }) {
  fs.cpSync(path.join(source, 'src'), path.join(work, 'src'), { recursive: true });
  const sljit = path.join(source, 'deps');
  if (fs.existsSync(sljit)) fs.cpSync(sljit, path.join(work, 'deps'), { recursive: true });
  const src = path.join(work, 'src');
  for (const [from, to] of [
    ['config.h.generic', 'config.h'],
    ['pcre2.h.generic', 'pcre2.h'],
    ['pcre2_chartables.c.dist', 'pcre2_chartables.c'],
  ]) {
    if (!fs.existsSync(path.join(src, to))) {
      fs.copyFileSync(path.join(src, from), path.join(src, to));
    }
  }
  const sources = pcre2Sources
    .map((name) => path.join(src, `pcre2_${name}.c`))
    .filter((file) => fs.existsSync(file));
  const flags = [
    '-DHAVE_CONFIG_H -DPCRE2_CODE_UNIT_WIDTH=8 -DPCRE2_STATIC -DSUPPORT_PCRE2_8 -DSUPPORT_JIT',
    '-DSUPPORT_UNICODE -DHAVE_ASSERT_H -DHAVE_BUILTIN_MUL_OVERFLOW -DHAVE_BUILTIN_UNREACHABLE',
    '-DHAVE_INTTYPES_H -DHAVE_LIMITS_H -DHAVE_MEMMOVE -DHAVE_STDINT_H -DHAVE_STDLIB_H',
    '-DHAVE_STRERROR -DHAVE_STRING_H -DHAVE_STRINGS_H -DHAVE_SYS_TYPES_H -DHAVE_UNISTD_H',
  ]
    .join(' ')
    .split(' ');
  await staticLibrary(sources, [...flags, `-I${src}`], {
    work,
    tools,
    library: path.join(prefix, 'lib/libpcre2-8.a'),
  });
  install(path.join(src, 'pcre2.h'), path.join(prefix, 'include/pcre2.h'));
}

async function buildYyjson({ source, work, prefix, tools }) {
  const src = path.join(source, 'src');
  await staticLibrary([path.join(src, 'yyjson.c')], [`-I${src}`], {
    work,
    tools,
    library: path.join(prefix, 'lib/libyyjson.a'),
  });
  install(path.join(src, 'yyjson.h'), path.join(prefix, 'include/yyjson.h'));
}

async function buildNghttp2({ source, work, prefix, tools }) {
  const lib = path.join(source, 'lib');
  const headers = path.join(work, 'include/nghttp2');
  fs.cpSync(path.join(lib, 'includes/nghttp2'), headers, { recursive: true });
  const { version } = readJson(new URL('../../deps/nghttp2.json', import.meta.url));
  const number = version.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const ver = readIfThere(path.join(headers, 'nghttp2ver.h.in'))
    .replace('@PACKAGE_VERSION@', version)
    .replace('@PACKAGE_VERSION_NUM@', `0x${number.toString(16).padStart(6, '0')}`);
  fs.writeFileSync(path.join(headers, 'nghttp2ver.h'), ver);
  const sources = fs
    .readdirSync(lib)
    .filter((name) => name.endsWith('.c'))
    .map((name) => path.join(lib, name));
  const flags = '-DNGHTTP2_STATICLIB -DHAVE_ARPA_INET_H -DHAVE_NETINET_IN_H -DHAVE_CLOCK_GETTIME';
  await staticLibrary(sources, [...flags.split(' '), `-I${path.join(work, 'include')}`], {
    work,
    tools,
    library: path.join(prefix, 'lib/libnghttp2.a'),
  });
  for (const name of ['nghttp2.h', 'nghttp2ver.h']) {
    install(path.join(headers, name), path.join(prefix, 'include/nghttp2', name));
  }
}

async function installLlhttp({ source, prefix, tools }) {
  const all = filesBelow(source);
  for (const [name, to] of [
    ['llhttp.h', 'include'],
    ['libllhttp.a', 'lib'],
  ]) {
    const found = all.filter((file) => path.basename(file) === name);
    const file = found.find((each) => each.includes(tools.triple)) ?? found[0];
    if (!file) throw new UserError(`${source} has no ${name}`);
    install(path.join(source, file), path.join(prefix, to, name));
  }
}

async function installLua({ source, prefix }) {
  const lib = path.join(source, 'lib');
  for (const file of filesBelow(lib)) {
    if (file.endsWith('.lua')) install(path.join(lib, file), path.join(prefix, 'lua', file));
  }
}

function install(from, to) {
  fs.mkdirSync(path.dirname(to), { recursive: true });
  fs.copyFileSync(from, to);
}

/** What is not named here is Lua: its lib/ is shipped as it is. */
const builders = {
  luajit: buildLuajit,
  pcre2: buildPcre2,
  yyjson: buildYyjson,
  nghttp2: buildNghttp2,
  llhttp: installLlhttp,
};

/** Builds `dep` from the unpacked `source` into `prefix`. */
export async function build(dep, { source, cache, prefix, arch, variant, toolchain: dir }) {
  const work = emptyDir(path.join(cache, 'work', `${dep.name}-${arch}-${variant}-${process.pid}`));
  try {
    await (builders[dep.name] ?? installLua)({
      source,
      work,
      prefix,
      tools: toolchain(arch, dir),
      variant,
    });
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}
