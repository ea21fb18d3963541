import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import t from 'tap';
import ts from 'typescript';
import { createGateway, MoonphaseError } from '../../lib/index.js';
import { freePorts, Server, sleep } from '../helpers/server.js';

const get = async (port: number, at: string): Promise<[number, string]> => {
  const response = await fetch(`http://127.0.0.1:${port}${at}`, {
    headers: { connection: 'close' },
  });
  return [response.status, await response.text()];
};

t.test('functions among options', async (t) => {
  const [port = 0] = await freePorts(1);
  const logged: unknown[] = [];
  const gw = await createGateway({
    listen: `127.0.0.1:${port}`,
    sharedDicts: { cats: '1m' },
    init: (_req, ngx) => ngx.shared['cats']?.set('phase', ngx.phase),
    locations: [
      {
        path: '/report',
        accessByLua: 'ngx.ctx.user = { name = "maria", roles = { "a", "b" } }',
        content: async (req, ngx) => {
          const user = ngx.ctx['user'] as { name: string; roles: string[] };
          user.name = 'joana';
          ngx.ctx['seen'] = true;
          await sleep(5);
          ngx.json({ user: user.name, roles: Object.keys(user.roles).length, id: req.args['id'] });
        },
        log: (_req, ngx) => {
          logged.push([ngx.status, ngx.ctx['seen'], ngx.ctx['lua']]);
        },
        headerFilterByLua: 'ngx.ctx.lua = ngx.ctx.user.name',
      },
    ],
  });
  await gw.start();
  t.equal(gw.shared['cats']?.get('phase'), 'init');
  t.same(await get(port, '/report?id=7'), [200, '{"user":"joana","roles":2,"id":"7"}']);
  await sleep(20);
  t.same(logged, [[200, true, 'joana']], 'one ngx.ctx');
  await gw.stop();
});

t.test('a client that goes away while a promise is pending', async (t) => {
  const [port = 0] = await freePorts(1);
  const events: string[] = [];
  const gw = await createGateway({
    listen: `127.0.0.1:${port}`,
    locations: [
      {
        path: '/wait',
        content: async (req, ngx) => {
          req.signal.addEventListener('abort', () => events.push('aborted'));
          events.push('begun');
          await ngx.sleep(10).catch((error: MoonphaseError) => events.push(error.code));
          try {
            ngx.say('late');
          } catch (error) {
            events.push((error as MoonphaseError).message);
          }
        },
        log: () => void events.push('logged'),
      },
      {
        path: '/hello',
        content: (_req, ngx) => ngx.say('still there'),
      },
    ],
  });
  await gw.start();
  const socket = net.connect(port, '127.0.0.1', () =>
    socket.write('GET /wait HTTP/1.1\r\nHost: x\r\n\r\n'),
  );
  while (!events.includes('begun')) await sleep(5);
  socket.destroy();
  for (let i = 0; i < 100 && events.length < 5; i++) await sleep(10);
  t.same(
    events.sort(),
    [
      'ERR_MOONPHASE_CLOSED',
      'aborted',
      'begun',
      'logged',
      'the handler of this request has ended',
    ].sort(),
  );
  t.same(await get(port, '/hello'), [200, 'still there\n']);
  await gw.stop();
});

t.test('a reload reads the module anew; a wrong one leaves the old', async (t) => {
  const [port = 0] = await freePorts(1);
  const dir = t.testdir({
    'handlers.mjs': "export default (req, ngx) => ngx.say('one');",
    'nginx.conf': `events {}
error_log error.log;
http {
  access_log off;
  server { listen 127.0.0.1:${port}; location / { content_by_js handlers.mjs; } }
}`,
  });
  const gw = await createGateway({ prefix: dir, config: 'nginx.conf' });
  await gw.start();
  t.same(await get(port, '/'), [200, 'one\n']);
  fs.writeFileSync(
    `${dir}/handlers.mjs`,
    "export default async (req, ngx) => { await new Promise((r) => setTimeout(r, 100)); ngx.say('second'); };",
  );
  await gw.reload();
  const waiting = get(port, '/');
  await sleep(20);
  fs.writeFileSync(`${dir}/handlers.mjs`, "export default (req, ngx) => ngx.say('the third');");
  await gw.reload();
  t.same(await get(port, '/'), [200, 'the third\n']);
  t.same(await waiting, [200, 'second\n'], 'what ran goes on with what it began with');
  fs.writeFileSync(`${dir}/handlers.mjs`, 'export default (;');
  await t.rejects(gw.reload(), {
    code: 'ERR_MOONPHASE_CONFIG',
    line: 5,
    message: /handlers\.mjs" cannot be loaded: .*Unexpected token.* in .*nginx\.conf:5/,
  });
  t.same(await get(port, '/'), [200, 'the third\n']);
  await gw.stop();
});

t.test('filters may wait with extended capabilities', async (t) => {
  const [port = 0] = await freePorts(1);
  const gw = await createGateway({
    listen: `127.0.0.1:${port}`,
    capabilities: 'extended',
    locations: [
      {
        path: '/',
        contentByLua: 'ngx.say("text")',
        headerFilter: async (_req, ngx) => {
          await sleep(5);
          ngx.headers.set('X-Late', ngx.phase);
          ngx.headers.delete('Content-Length');
        },
        bodyFilter: async (_req, ngx) => {
          const text = ngx.chunk.toString();
          await ngx.sleep(0.005);
          ngx.chunk = text.toUpperCase();
        },
      },
    ],
  });
  await gw.start();
  const answer = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } });
  t.equal(answer.headers.get('x-late'), 'header_filter');
  t.equal(await answer.text(), 'TEXT\n');
  await gw.stop();
});

t.test('AsyncLocalStorage, many at once, and stop() while handlers wait', async (t) => {
  const { AsyncLocalStorage } = await import('node:async_hooks');
  const store = new AsyncLocalStorage<string>();
  const [port = 0] = await freePorts(1);
  const gw = await createGateway({
    listen: `127.0.0.1:${port}`,
    locations: [
      {
        path: '/',
        content: (req, ngx) =>
          store.run(String(req.args['id']), async () => {
            await ngx.sleep(0.01);
            await sleep(1);
            ngx.say(String(store.getStore()));
          }),
      },
      { path: '/never', content: () => new Promise<void>(() => undefined) },
    ],
  });
  await gw.start();
  const all = await Promise.all(Array.from({ length: 40 }, (_, i) => get(port, `/?id=${i}`)));
  t.same(
    all.map(([, body]) => body),
    Array.from({ length: 40 }, (_, i) => `${i}\n`),
  );
  const never = http.get(`http://127.0.0.1:${port}/never`);
  never.on('error', () => undefined);
  await sleep(30);
  await gw.stop({ timeout: 20 });
  t.pass('stopped');
});

t.test('an error of compiled TypeScript names its source', async (t) => {
  const source = `interface Visit { readonly page: string }

export async function report(): Promise<void> {
  const visit: Visit = { page: 'index' };
  await Promise.resolve();
  throw new Error('no report on ' + visit.page);
}
`;
  const { outputText, sourceMapText = '' } = ts.transpileModule(source, {
    fileName: 'report.mts',
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      sourceMap: true,
    },
  });
  const server = await Server.start({
    files: { 'report.mts': source, 'report.mjs': outputText, 'report.mjs.map': sourceMapText },
    env: { NODE_OPTIONS: '--enable-source-maps' },
    http: `server {
      listen 127.0.0.1:$port;
      location / { content_by_js report.mjs#report; }
    }`,
  });
  t.teardown(() => server.stop());
  t.equal((await get(server.port, '/'))[0], 500);
  t.match(
    server.errorLog(),
    /aborted: runtime error: Error: no report on index\n +at report \(.*report\.mts:6:9\)/,
  );
});

t.test('who catches an exit sends nothing more', async (t) => {
  const gw = await createGateway({
    errorLog: 'stderr',
    locations: [
      {
        path: '/sync',
        content: (_req, ngx) => {
          try {
            ngx.exit(403);
          } catch {
            // as if nothing had happened
          }
          ngx.say('after');
        },
      },
      {
        path: '/late',
        content: async (_req, ngx) => {
          await sleep(1);
          try {
            ngx.redirect('/elsewhere');
          } catch {
            ngx.json({ after: 1 });
          }
        },
      },
      { path: '/none', content: (_req, ngx) => ngx.json(undefined) },
    ],
  });
  const status = async (at: string): Promise<number> =>
    (await gw.fetch(new Request(`http://a${at}`))).status;
  t.equal(await status('/sync'), 403);
  t.equal(await status('/late'), 302);
  t.equal(await status('/none'), 500, 'undefined is no JSON');
  await gw.stop();
});
