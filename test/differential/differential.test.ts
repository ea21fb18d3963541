// The same configuration and the same bytes for Debian's nginx (with its Lua module) and for Moonphase: the same status,
// headers, body and log line. What may differ is in accepted.json and docs/differences.md, each with its reason.
import fs from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { startExample } from '../helpers/example.js';
import { type Answer, exchange, parseAnswers } from '../helpers/http.js';
import { type Kind, root, Server, sleep } from '../helpers/server.js';
import { endingCases, requestCases } from './phases.js';
import { type Case, common, files } from './requests.js';

interface Accepted {
  readonly id: string;
  readonly what: string;
  readonly why: string;
  /** Names of requests whose whole answer may differ. */
  readonly requests?: readonly string[];
}

const here = path.join(root, 'test/differential');
const accepted = JSON.parse(
  fs.readFileSync(path.join(here, 'accepted.json'), 'utf8'),
) as Accepted[];
const skipped = new Set(accepted.flatMap((entry) => entry.requests ?? []));
const noNginx =
  !fs.existsSync('/usr/lib/nginx/modules/ngx_http_lua_module.so') &&
  'nginx with its Lua module is not installed';

interface Seen {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: string;
}

function seen(answer: Answer, server: Server): Seen {
  const plain = (text: string): string =>
    server.ports
      .reduce((out, port, i) => out.replaceAll(String(port), `PORT${i || ''}`), text)
      .replaceAll(server.prefix, 'PREFIX')
      .replace(/nginx\/\d+\.\d+\.\d+/g, 'nginx/VERSION')
      .replace(/\|1\.\d+\.\d+$/m, '|VERSION')
      .replace(/nginx\.conf:\d+/g, 'nginx.conf:LINE');
  const headers = answer.headers.map(([name, value]) =>
    name === 'Date' && /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/.test(value)
      ? 'Date: …'
      : `${name}: ${plain(value)}`,
  );
  return { status: answer.status, headers, body: plain(answer.body) };
}

async function ask(server: Server, { bytes, methods }: Case): Promise<Seen[]> {
  const answers = parseAnswers(await exchange(server.port, bytes, 1500), methods);
  return answers.map((answer) => seen(answer, server));
}

async function compare(
  t: Test,
  start: (kind: Kind) => Promise<Server>,
  cases: readonly Case[],
): Promise<[Server, Server]> {
  const nginx = await start('nginx');
  t.teardown(() => nginx.stop());
  const moonphase = await start('moonphase');
  t.teardown(() => moonphase.stop());
  for (const each of cases) {
    const [theirs, ours] = await Promise.all([ask(nginx, each), ask(moonphase, each)]);
    if (skipped.has(each.name)) t.notSame(ours, theirs, `${each.name} still differs`);
    else t.same(ours, theirs, each.name);
  }
  t.notMatch(moonphase.errorLog(), /\[(alert|emerg)\]/);
  return [nginx, moonphase];
}

t.ok(accepted.length <= 20, 'few differences are accepted');
for (const { id, why } of accepted) {
  const text = fs.readFileSync(path.join(root, 'docs/differences.md'), 'utf8');
  t.ok(why.length > 10 && text.includes(`\`${id}\``), `docs/differences.md explains ${id}`);
}

t.test('hello', { skip: noNginx }, async (t) => {
  await compare(t, (kind) => startExample('hello', { kind }), common('/hello'));
});

t.test('access-log: the JSON line too', { skip: noNginx }, async (t) => {
  const cases = common('/some/path').filter(
    ({ methods, name }) => methods.length === 1 && !skipped.has(name),
  );
  const [nginx, moonphase] = await compare(
    t,
    (kind) => startExample('access-log', { kind, errorLogLevel: 'info' }),
    cases,
  );
  await sleep(200);
  const lines = (server: Server): unknown[] =>
    [
      ...server.errorLog().matchAll(/REQUEST_LOG: (\{.*?\})(?: while logging request)?, client: /g),
    ].map((m) => {
      const line = JSON.parse(m[1] as string) as Record<string, unknown>;
      for (const name of ['time', 'request_time']) line[name] = typeof line[name];
      line['request_id'] = /^[0-9a-f]{32}$/.test(String(line['request_id']));
      return JSON.stringify(Object.entries(line).sort());
    });
  const [theirs, ours] = [lines(nginx), lines(moonphase)];
  t.ok(ours.length >= 60, `${ours.length} lines`);
  t.same(ours, theirs, 'log lines');
});

t.test('generic: static files, rewriting, Lua', { skip: noNginx }, async (t) => {
  const text = fs
    .readFileSync(path.join(here, 'generic.conf'), 'utf8')
    .replace('8086', '127.0.0.1:$port');
  const modified = new Date('2026-01-02T03:04:05Z');
  const start = async (kind: Kind): Promise<Server> => {
    const server = await Server.start({
      kind,
      http: text,
      files: {
        'html/files/a.txt': '0123456789 abcdef\n',
        'html/files/plain': 'plain\n',
        'html/files/index.html': '<p>index</p>\n',
        'html/files/sub/b.txt': 'b\n',
      },
    });
    for (const name of ['a.txt', 'plain', 'index.html', 'sub/b.txt'])
      fs.utimesSync(path.join(server.prefix, 'html/files', name), modified, modified);
    return server;
  };
  await compare(t, start, [...common('/return-text'), ...files(modified.toUTCString())]);
});

t.test(
  'request: phases, control, subrequests, bodies, proxy_pass',
  { skip: noNginx },
  async (t) => {
    const text = fs.readFileSync(path.join(here, 'request.conf'), 'utf8');
    const modified = new Date('2026-01-02T03:04:05Z');
    const start = async (kind: Kind): Promise<Server> => {
      const server = await Server.start({
        kind,
        http: text,
        files: {
          'conf/users': [
            'plain:{PLAIN}secret',
            'sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=',
            'ssha:{SSHA}OZ0H2d1SNrCiIvDDFTRTaLfMpVlzYWx0',
            'apr:$apr1$abcdefgh$3XDxe4oQAyd.cFmVhnNGp1',
            '',
          ].join('\n'),
          'html/files/a.txt': '0123456789 abcdef\n',
          'html/files/plain.txt': 'plain\n',
          'html/lua/a.lua': 'ngx.say("file a ", ngx.var.arg_f)',
          'html/lua/bad.lua': 'ngx.say(',
        },
      });
      for (const name of ['a.txt', 'plain.txt'])
        fs.utimesSync(path.join(server.prefix, 'html/files', name), modified, modified);
      return server;
    };
    await compare(t, start, requestCases());
  },
);

t.test('endings: what is logged, too', { skip: noNginx }, async (t) => {
  const text = fs.readFileSync(path.join(here, 'endings.conf'), 'utf8');
  const start = async (kind: Kind): Promise<Server> => {
    const server = await Server.start({ kind, http: text, files: { 'html/f.txt': 'file\n' } });
    fs.utimesSync(path.join(server.prefix, 'html/f.txt'), 1767323045, 1767323045);
    return server;
  };
  const [nginx, moonphase] = await compare(t, start, endingCases(text));
  await sleep(200);
  const lines = (server: Server): string[] =>
    [...server.errorLog().matchAll(/\[(?:LOG|TIMER|EOF)\] .*?(?=, client: )/g)]
      .map((m) => m[0])
      .sort();
  t.ok(lines(moonphase).length > 400, 'every request is logged');
  t.same(lines(moonphase), lines(nginx), 'log lines');
});
