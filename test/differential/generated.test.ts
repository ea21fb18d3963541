// Requests that nobody thought of: generate.ts makes them, always the same ones, for generated.conf. Debian's nginx and
// Moonphase must agree on statuses, headers in their order, bodies, whether the connection goes on, and the access log.
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import zlib from 'node:zlib';
import t from 'tap';
import { type Answer, parseAnswers } from '../helpers/http.js';
import { type Kind, root, Server, sleep } from '../helpers/server.js';
import { generate, type Generated } from './generate.js';

const kCount = Number(process.env['GENERATED'] ?? 600);
const kSeed = Number(process.env['SEED'] ?? 20260102);
const kAtOnce = 12;

const here = path.join(root, 'test/differential');
const noNginx =
  !fs.existsSync('/usr/lib/nginx/modules/ngx_http_lua_module.so') &&
  'nginx with its Lua module is not installed';

const modified = new Date('2026-01-02T03:04:05Z');
const files: Record<string, string> = {
  'a.txt': '0123456789 abcdef\n',
  'big.txt': Array.from({ length: 4000 }, (_, i) => `line ${i}\n`).join(''),
  'page.html': `<html>${'<p>some text</p>'.repeat(30)}</html>\n`,
  empty: '',
  'x y.txt': 'with a space\n',
  'index.html': 'the index\n',
  'sub/b.txt': 'b\n',
};
const etag = (text: string): string =>
  `"${(modified.getTime() / 1000).toString(16)}-${text.length.toString(16)}"`;

async function start(kind: Kind): Promise<Server> {
  const server = await Server.start({
    kind,
    http: fs.readFileSync(path.join(here, 'generated.conf'), 'utf8'),
    errorLogLevel: 'warn',
    files: {
      ...Object.fromEntries(
        Object.entries(files).map(([name, text]) => [`html/files/${name}`, text]),
      ),
      'conf/users': 'user:{PLAIN}pass\n',
    },
  });
  for (const name of Object.keys(files))
    fs.utimesSync(path.join(server.prefix, 'html/files', name), modified, modified);
  return server;
}

interface Result {
  readonly answers: readonly object[];
  readonly left: string;
  log: readonly string[];
}

/** Everything that comes until the server closes; the client's port finds the log's lines. */
function exchange(port: number, bytes: string): Promise<{ text: string; from: number }> {
  return new Promise((done, fail) => {
    const parts: Buffer[] = [];
    let from = 0;
    let connected = false;
    const socket = net.connect(port, '127.0.0.1');
    const finish = (): void => {
      clearTimeout(timer);
      socket.destroy();
      done({ text: Buffer.concat(parts).toString('latin1'), from });
    };
    const timer = setTimeout(() => {
      parts.push(Buffer.from('\n(the server does not close)'));
      finish();
    }, 10_000);
    socket.on('connect', () => {
      connected = true;
      from = socket.localPort as number;
      socket.write(Buffer.from(bytes, 'latin1'));
    });
    socket.on('data', (data) => parts.push(data));
    socket.on('end', finish);
    socket.on('error', (error) => (connected ? finish() : (clearTimeout(timer), fail(error))));
  });
}

/** What depends on the server that was asked, not on what it does. */
function plain(text: string, server: Server): string {
  return text
    .replaceAll(String(server.ports[0]), 'PORT')
    .replaceAll(String(server.ports[1]), 'PORT1')
    .replaceAll(/nginx\/\d+\.\d+\.\d+/gi, 'nginx/VERSION')
    .replaceAll(/\d{20}/g, 'BOUNDARY')
    .replaceAll(/^Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT/gm, 'Date: …');
}

/** Entries of accepted.json that concern lines of the log. */
function acceptable(line: string, each: Generated): string {
  const fields = line.split('|');
  const at = (name: string): number => kFields.indexOf(name);
  const mask = (...names: string[]): void => {
    for (const name of names) if (at(name) < fields.length) fields[at(name)] = '…';
  };
  // gzip-bytes
  if (fields[at('content_encoding')] === 'gzip') mask('body_bytes_sent', 'bytes_sent');
  // discarded-chunks
  if (/^Transfer-Encoding: /im.test(each.bytes)) mask('request_length');
  // joined-headers
  for (const [name, header] of kRepeated)
    if ((each.bytes.match(new RegExp(`^${header}:`, 'gim')) ?? []).length > 1) mask(name);
  return fields.join('|');
}

/** chunk-line-feed and host-port, of accepted.json. */
const skipped = (each: Generated): boolean => /^[0-9a-f]+\nhello|^Host: a:b:c/im.test(each.bytes);

/** Of log_format, behind the port. */
const kFields =
  'request status body_bytes_sent bytes_sent request_length connection_requests pipe host uri args content_length agent referer upstream_status completion protocol content_type user cookie range dup content_encoding'.split(
    ' ',
  );
const kRepeated = [
  ['agent', 'User-Agent'],
  ['referer', 'Referer'],
  ['range', 'Range'],
  ['dup', 'X-Dup'],
] as const;

function unzipped(answer: Answer): string {
  if (answer.header('content-encoding') !== 'gzip' || !answer.body) return answer.body;
  try {
    return `(gzip) ${zlib.gunzipSync(Buffer.from(answer.body, 'latin1')).toString('latin1')}`;
  } catch (error) {
    return `(not gzip: ${(error as Error).message}) ${answer.body.length}`;
  }
}

async function ask(server: Server, each: Generated): Promise<Result & { from: number }> {
  const { text, from } = await exchange(server.port, each.bytes);
  const answers = parseAnswers(text, each.methods);
  const left = text.slice(answers.reduce((sum, a) => sum + a.raw.length, 0));
  return {
    from,
    left: plain(left, server),
    log: [],
    answers: answers.map((answer) => ({
      status: answer.statusLine,
      headers: answer.headers.map(([name, value]) =>
        name === 'Date' && /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/.test(value)
          ? 'Date: …'
          : `${name}: ${plain(value, server)}`,
      ),
      body: plain(unzipped(answer), server),
    })),
  };
}

async function askAll(server: Server, cases: readonly Generated[]): Promise<Result[]> {
  const results: (Result & { from: number })[] = [];
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < cases.length) {
      const i = next++;
      results[i] = await ask(server, cases[i] as Generated);
    }
  };
  await Promise.all(Array.from({ length: kAtOnce }, one));
  await sleep(500); // the last line of the log
  const lines = fs
    .readFileSync(path.join(server.prefix, 'logs/access.log'), 'latin1')
    .split('\n')
    .filter(Boolean);
  const byPort = new Map<number, string[]>();
  for (const line of lines) {
    const bar = line.indexOf('|');
    const from = Number(line.slice(0, bar));
    const list = byPort.get(from) ?? [];
    list.push(plain(line.slice(bar + 1), server));
    byPort.set(from, list);
  }
  return results.map(({ from, ...result }, i) => {
    const log = (byPort.get(from) ?? []).map((line) => acceptable(line, cases[i] as Generated));
    return { ...result, log };
  });
}

void t.test(`${kCount} generated requests`, { skip: noNginx, timeout: 120_000 }, async (t) => {
  const cases = generate(kCount, kSeed, {
    lastModified: modified.toUTCString(),
    etags: [
      etag(files['a.txt'] as string),
      etag(files['big.txt'] as string),
      etag(files['page.html'] as string),
    ],
  });
  const nginx = await start('nginx');
  t.teardown(() => nginx.stop());
  const moonphase = await start('moonphase');
  t.teardown(() => moonphase.stop());
  const theirs = await askAll(nginx, cases);
  const ours = await askAll(moonphase, cases);
  for (const [i, each] of cases.entries())
    if (!skipped(each)) t.same(ours[i], theirs[i], each.name);
  t.notMatch(moonphase.errorLog(), /\[(alert|emerg)\]/);
});
