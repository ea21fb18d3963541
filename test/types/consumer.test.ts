// The published types in somebody's project: ESM and CommonJS, Node16 and bundler resolution.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import t from 'tap';
import { plainNode, root } from '../helpers/server.js';

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');

const BODY = `
async function main(): Promise<void> {
  const gw: Gateway = await createGateway({ sharedDicts: { a: '1m' }, locations: [{ path: '/', contentByLua: 'ngx.say(1)' }] });
  http.createServer(gw.handler).on('upgrade', gw.upgrade);
  https.createServer(gw.handler);
  http2.createServer(gw.handler);
  http.createServer((req, res) => gw.handler(req, res, (error?: unknown) => void error));
  const response: Response = await gw.fetch(new Request('http://localhost/'));
  const listening: Listening = await gw.listen({ port: 0, host: '127.0.0.1' });
  const stored: number | undefined = gw.shared['a']?.get<number>('x');
  const vm = new LuaVM({ packagePath: './?.lua;;' });
  const app = vm.require<{ user(id: number): Promise<string> }>('app');
  const name: string = await app.user(1);
  try { await gw.reload(); } catch (error) { if (error instanceof MoonphaseError) { const code: ErrorCode = error.code; void code; } }
  // @ts-expect-error no such option of stop
  await gw.stop({ timeouts: 1 });
  void [response.status, listening.port, stored, name];
}
void main;
`;
const NAMES = 'LuaVM, MoonphaseError, createGateway, type ErrorCode, type Gateway, type Listening';
const IMPORTS = `import http from 'node:http';
import https from 'node:https';
import http2 from 'node:http2';
import { ${NAMES} } from 'moonphase';
`;

t.test('tsc accepts them', async (t) => {
  const dir = t.testdir({
    'package.json': '{"type":"module"}',
    'use.mts': IMPORTS + BODY,
    'use.cts': IMPORTS + BODY,
    node_modules: { '@types': {} },
  });
  fs.symlinkSync(root, path.join(dir, 'node_modules/moonphase'));
  fs.symlinkSync(
    path.join(root, 'node_modules/@types/node'),
    path.join(dir, 'node_modules/@types/node'),
  );
  const flags = [
    '--noEmit',
    '--strict',
    '--esModuleInterop',
    '--types',
    'node',
    '--target',
    'es2022',
  ];
  for (const [name, module, resolution, file] of [
    ['ESM, Node16', 'node16', 'node16', 'use.mts'],
    ['CommonJS, Node16', 'node16', 'node16', 'use.cts'],
    ['ESM, bundler', 'esnext', 'bundler', 'use.mts'],
  ] as const) {
    const { stdout } = spawnSync(
      ...plainNode(
        tsc,
        ...flags,
        '--lib',
        'es2023,dom',
        '--module',
        module,
        '--moduleResolution',
        resolution,
        file,
      ),
      { cwd: dir, encoding: 'utf8' },
    );
    t.equal(stdout, '', name);
  }
});

t.test('no any', async (t) => {
  const seen = new Set<string>();
  const look = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = fs.readFileSync(file, 'utf8').replace(/\/\*[^]*?\*\/|\/\/.*$/gm, '');
    t.notMatch(text, /[:<|&,([>]\s*any\b(?!['?:])/, path.relative(root, file));
    for (const [, from] of text.matchAll(/from '(\.[^']+)\.js'/g)) {
      look(path.join(path.dirname(file), `${from}.d.ts`));
    }
  };
  look(path.join(root, 'dist/index.d.ts'));
});
