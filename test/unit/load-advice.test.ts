import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { loadAdvice, oldestGlibc, refusal, type LoadCircumstances } from '../../lib/load-advice.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

const usual: LoadCircumstances = {
  platform: 'linux',
  arch: 'x64',
  glibc: '2.36',
  versions: { node: '20.20.2', napi: '9' },
  given: undefined,
  found: ['prebuilds/linux-arm64/moonphase.glibc.node'],
  root: '/app/node_modules/moonphase',
};
const advice = (change: Partial<LoadCircumstances>, reason = 'it failed'): string[] =>
  loadAdvice({ ...usual, ...change }, reason).split('\n');

t.test('says what was found and what is needed', async (t) => {
  const [head, found, needed, toDo] = advice({}, 'No native build was found');
  t.equal(
    head,
    'the native part of moonphase cannot be loaded on linux-x64 (glibc 2.36), Node 20.20.2: No native build was found',
  );
  t.equal(found, '  found:  prebuilds/linux-arm64/moonphase.glibc.node');
  t.match(needed, /glibc 2\.28 or newer on x64 or arm64, Node 20 or newer \(Node-API 9\)/);
  t.match(
    needed,
    'prebuilds/linux-x64/moonphase.glibc.node or build/Release/moonphase.node in /app',
  );
  t.match(toDo, /npm rebuild moonphase --build-from-source; .*g\+\+ make python3/);
  t.match(advice({ found: [] })[1], 'no prebuilt binary and no build');
  t.match(advice({ given: '/x.node' })[1], 'MOONPHASE_ADDON=/x.node');
});

t.test('says what to do', async (t) => {
  const cases: [Partial<LoadCircumstances>, string, RegExp][] = [
    [{ platform: 'darwin', glibc: undefined }, '', /run on Linux/],
    [{ arch: 'ia32' }, '', /run on x64 or arm64: LuaJIT.* ia32/],
    [
      { glibc: undefined },
      'Error loading shared library ld-linux',
      /node:22-slim.*musl is not supported/,
    ],
    [{ glibc: '2.17' }, "version `GLIBC_2.28' not found", /newer system \(Debian 10/],
    [
      { glibc: '2.31' },
      "version `GLIBC_2.34' not found",
      /built on a newer system.*build-from-source/,
    ],
    [{}, "version `GLIBCXX_3.4.30' not found", /built on a newer system/],
    [{}, 'undefined symbol: node_api_new', /newer Node/],
    [{}, 'undefined symbol: SSL_CTX_new', /brings its own OpenSSL 3/],
    [{}, 'x.node: wrong ELF class: ELFCLASS32', /not for this machine/],
    [{ versions: { node: '18.20.0', napi: '9' } }, '', /install Node 20 or newer/],
    [
      { versions: { node: '22.1.0', napi: '9', electron: '33.0' } },
      '',
      /a Node process of its own/,
    ],
    [{ versions: { node: '22.1.0', napi: '9', bun: '1.2' } }, '', /run it by Node/],
  ];
  for (const [change, reason, wanted] of cases) t.match(advice(change, reason)[3], wanted);
});

t.test('does not try where it could only crash', async (t) => {
  t.equal(refusal({ node: '20.0.0', napi: '9' }), undefined);
  t.equal(refusal({ node: '26.0.0', napi: '10' }), undefined);
  t.match(
    refusal({ node: '22.0.0', napi: '9', electron: '33.2.0' }),
    /Electron 33\.2\.0 has BoringSSL/,
  );
  t.match(refusal({ node: '22.0.0', napi: '9', deno: '2' }), /^Deno has neither/);
  t.match(refusal({ node: '18.20.0', napi: '9' }), /Node 18\.20\.0 is too old/);
});

t.test('a real failure', { skip: !existsSync(`${root}/dist/index.js`) }, async (t) => {
  const dir = t.testdir();
  writeFileSync(`${dir}/broken.node`, 'no library');
  const script = `
    import('${root}/dist/index.js').then(({ LuaVM }) => new LuaVM()).catch((error) => {
      console.log(JSON.stringify([error.code, error.name, error.message, error.cause instanceof Error]));
    });`;
  const run = (prepare: string, env: NodeJS.ProcessEnv = {}): string[] =>
    JSON.parse(
      execFileSync(process.execPath, ['-e', prepare + script], {
        encoding: 'utf8',
        env: { ...process.env, ...env },
      }),
    );
  const [code, name, message = '', cause] = run('', { MOONPHASE_ADDON: `${dir}/broken.node` });
  t.same([code, name, cause], ['ERR_MOONPHASE_LOAD', 'MoonphaseError', true]);
  t.match(
    message,
    /cannot be loaded on linux-\w+ \(glibc [\d.]+\), Node .*(file too short|invalid ELF)/,
  );
  t.match(message, `found:  MOONPHASE_ADDON=${dir}/broken.node`);

  const fake = "Object.defineProperty(process.versions, 'electron', { value: '33.0.0' });";
  const [electron, , text] = run(fake);
  t.equal(electron, 'ERR_MOONPHASE_LOAD');
  t.match(text, /Electron 33\.0\.0 has BoringSSL/);
});

t.test('the floor is the one that binaries are held to', async (t) => {
  const print = "import { floor } from './scripts/prebuild/floor.mjs'; console.log(floor.GLIBC)";
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', print], {
    cwd: root,
    encoding: 'utf8',
  });
  t.equal(stdout.trim(), oldestGlibc);
});
