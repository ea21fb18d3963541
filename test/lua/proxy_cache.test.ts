// proxy_cache: the same requests have the same answers as with Debian's nginx, from the same place. And what only we can
// see: the files of either serve the other, all workers share, old files go.
import fs from 'node:fs';
import http from 'node:http';
import type net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { request } from '../helpers/http.js';
import { type Kind, Server } from '../helpers/server.js';

/** Answers with a number that counts its calls of that path, and as the query says. */
class Backend {
  readonly calls = new Map<string, number>();
  readonly seen: string[] = [];
  private readonly server = http.createServer((req, res) => {
    const url = new URL(req.url ?? '/', 'http://x');
    const key = `${req.method} ${url.pathname}`;
    const n = (this.calls.get(key) ?? 0) + 1;
    this.calls.set(key, n);
    const q = url.searchParams;
    this.seen.push(
      `${key} ${req.headers['if-none-match'] ?? '-'} ${req.headers['if-modified-since'] ?? '-'} ${req.headers.range ?? '-'}`,
    );
    const failing = q.get('fail')?.split(',').includes(String(n)) === true;
    for (const [name, value] of q) {
      if (name.startsWith('h-')) res.setHeader(name.slice(2), value);
    }
    const same = q.get('304') !== null && req.headers['if-none-match'] === q.get('h-etag');
    res.statusCode = failing
      ? Number(q.get('code') ?? 500)
      : same
        ? 304
        : Number(q.get('status') ?? 200);
    const size = Number(q.get('size') ?? 0);
    const body =
      size > 0 ? 'x'.repeat(size) : `${url.pathname} ${n} ${req.headers['x-kind'] ?? ''}`;
    const answer = (): void => {
      if (failing && q.get('code') === '0') req.socket.destroy();
      else if (same) res.end();
      else if (q.get('chunked') !== null) {
        res.write(body.slice(0, 3));
        res.end(body.slice(3));
      } else {
        res.setHeader('Content-Length', body.length);
        res.end(body);
      }
    };
    setTimeout(answer, Number(q.get('wait') ?? 0));
  });

  async start(): Promise<this> {
    await new Promise<void>((done) => this.server.listen(0, '127.0.0.1', done));
    return this;
  }
  get port(): number {
    return (this.server.address() as net.AddressInfo).port;
  }
  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

const noNginx =
  !fs.existsSync('/usr/lib/nginx/modules/ngx_http_lua_module.so') &&
  'nginx with its Lua module is not installed';

const PATHS =
  'proxy_cache_path $prefix/cache levels=1:2 keys_zone=one:1m inactive=1h use_temp_path=off;';

function config(port: number, extra = ''): string {
  return `
    ${PATHS}
    server {
      listen 127.0.0.1:$port;
      proxy_cache one;
      proxy_cache_key $uri;
      add_header X-Cache $upstream_cache_status always;
      location / { proxy_pass http://127.0.0.1:${port}; proxy_cache_valid 200 302 10m; proxy_cache_valid 404 1m; }
      location /by-header/ { proxy_pass http://127.0.0.1:${port}; }
      location /any/ { proxy_pass http://127.0.0.1:${port}; proxy_cache_valid any 1m; }
      location /default-key/ { proxy_pass http://127.0.0.1:${port}; proxy_cache_key $scheme$proxy_host$request_uri;
        proxy_cache_valid 1m; }
      location /min/ { proxy_pass http://127.0.0.1:${port}; proxy_cache_valid 1m; proxy_cache_min_uses 2; }
      location /bypass/ { proxy_pass http://127.0.0.1:${port}; proxy_cache_valid 1m;
        proxy_cache_bypass $http_x_bypass; proxy_no_cache $http_x_no; }
      location /stale/ { proxy_pass http://127.0.0.1:${port}; proxy_cache_valid 200 1s;
        proxy_cache_use_stale error timeout http_500 http_404; }
      location /revalidate/ { proxy_pass http://127.0.0.1:${port}; proxy_cache_valid 200 1s; proxy_cache_revalidate on; }
      location /background/ { proxy_pass http://127.0.0.1:${port}; proxy_cache_valid 200 1s;
        proxy_cache_use_stale updating; proxy_cache_background_update on; }
      location /lock/ { proxy_pass http://127.0.0.1:${port}; proxy_cache_valid 1m; proxy_cache_lock on; }
      location /hide/ { proxy_pass http://127.0.0.1:${port}; proxy_cache_valid 1m; proxy_ignore_headers Set-Cookie Cache-Control;
        proxy_hide_header Set-Cookie; }
      location /post/ { proxy_pass http://127.0.0.1:${port}; proxy_cache_valid 1m; proxy_cache_methods POST; }
      location /off/ { proxy_pass http://127.0.0.1:${port}; proxy_cache off; }
      location /slices/ { proxy_pass http://127.0.0.1:${port}; proxy_cache_valid 1m; proxy_cache_max_range_offset 10; }
      ${extra}
    }`;
}

type Step = readonly [path: string, headers?: Record<string, string>, method?: string] | number;

const PAST = 'Thu, 01 Jan 2015 00:00:00 GMT';
const FUTURE = 'Thu, 01 Jan 2037 00:00:00 GMT';

const SCENARIOS: Readonly<Record<string, readonly Step[]>> = {
  'miss, hit': [['/a'], ['/a'], ['/a', {}, 'HEAD'], ['/a?other']],
  'HEAD fills the cache': [['/head', {}, 'HEAD'], ['/head'], ['/head', {}, 'HEAD']],
  'a 404 and a 500': [
    ['/missing?status=404'],
    ['/missing?status=404'],
    ['/broken?status=500'],
    ['/broken?status=500'],
  ],
  'no time, no cache': [['/by-header/a'], ['/by-header/a']],
  'max-age': [
    ['/by-header/b?h-cache-control=max-age%3D60'],
    ['/by-header/b'],
    ['/by-header/b2?h-cache-control=max-age%3D0'],
    ['/by-header/b2?h-cache-control=max-age%3D0'],
  ],
  'no-store and private': [
    ['/c?h-cache-control=no-store'],
    ['/c?h-cache-control=no-store'],
    ['/c2?h-cache-control=private,max-age%3D60'],
    ['/c2?h-cache-control=private,max-age%3D60'],
  ],
  expires: [
    [`/by-header/d?h-expires=${FUTURE}`],
    ['/by-header/d'],
    [`/e?h-expires=${PAST}`],
    [`/e?h-expires=${PAST}`],
  ],
  'X-Accel-Expires': [
    ['/f?h-x-accel-expires=0'],
    ['/f?h-x-accel-expires=0'],
    ['/by-header/g?h-x-accel-expires=60'],
    ['/by-header/g'],
    ['/by-header/h?h-x-accel-expires=@1'],
    ['/by-header/h?h-x-accel-expires=@1'],
  ],
  'Set-Cookie': [
    ['/i?h-set-cookie=a%3Db'],
    ['/i?h-set-cookie=a%3Db'],
    ['/hide/i?h-set-cookie=a%3Db&h-cache-control=no-store'],
    ['/hide/i'],
  ],
  any: [['/any/a?status=503'], ['/any/a'], ['/any/b?status=301&h-location=/x'], ['/any/b']],
  'default key': [['/default-key/a?1'], ['/default-key/a?2'], ['/default-key/a?1']],
  'min uses': [['/min/a'], ['/min/a'], ['/min/a'], ['/min/a']],
  bypass: [
    ['/bypass/a'],
    ['/bypass/a', { 'X-Bypass': '1' }],
    ['/bypass/a'],
    ['/bypass/b', { 'X-No': '1' }],
    ['/bypass/b'],
    ['/bypass/b'],
  ],
  'stale on errors': [
    ['/stale/a?fail=2,3'],
    2100,
    ['/stale/a?fail=2,3'],
    ['/stale/a?fail=2,3'],
    ['/stale/a?fail=2,3'],
    ['/stale/b?fail=2&code=0'],
    2100,
    ['/stale/b?fail=2&code=0'],
    ['/stale/c?fail=2&code=503'],
    2100,
    ['/stale/c?fail=2&code=503'],
  ],
  'stale-if-error': [
    ['/by-header/j?h-cache-control=max-age%3D1,stale-if-error%3D60&fail=2'],
    2100,
    ['/by-header/j?h-cache-control=max-age%3D1,stale-if-error%3D60&fail=2'],
    ['/by-header/j?h-cache-control=max-age%3D1,stale-if-error%3D60&fail=2'],
  ],
  revalidate: [
    ['/revalidate/a?304&h-etag=%22v1%22'],
    2100,
    ['/revalidate/a?304&h-etag=%22v1%22'],
    ['/revalidate/a?304&h-etag=%22v1%22'],
    [`/revalidate/b?h-last-modified=${PAST}`],
    2100,
    [`/revalidate/b?h-last-modified=${PAST}`],
  ],
  vary: [
    ['/v?h-vary=X-Kind', { 'X-Kind': 'a' }],
    ['/v?h-vary=X-Kind', { 'X-Kind': 'b' }],
    ['/v?h-vary=X-Kind', { 'X-Kind': 'a' }],
    ['/v?h-vary=X-Kind', { 'X-Kind': 'b' }],
    ['/v?h-vary=X-Kind', { 'X-Kind': 'c' }],
    ['/w?h-vary=*'],
    ['/w?h-vary=*'],
  ],
  ranges: [
    ['/r?size=1000&h-accept-ranges=bytes', { Range: 'bytes=10-19' }],
    ['/r?size=1000&h-accept-ranges=bytes', { Range: 'bytes=10-19' }],
    ['/r?size=1000&h-accept-ranges=bytes', { Range: 'bytes=990-' }],
    ['/slices/a?size=100&h-accept-ranges=bytes', { Range: 'bytes=50-59' }],
    ['/slices/a?size=100&h-accept-ranges=bytes', { Range: 'bytes=5-9' }],
    ['/slices/a?size=100&h-accept-ranges=bytes', { Range: 'bytes=50-59' }],
  ],
  conditions: [
    ['/k?h-etag=%22k%22'],
    ['/k?h-etag=%22k%22', { 'If-None-Match': '"k"' }],
    ['/l?h-etag=%22l%22', { 'If-None-Match': '"l"' }],
    ['/l', {}],
    [`/m?h-last-modified=${PAST}`],
    ['/m', { 'If-Modified-Since': PAST }],
  ],
  chunked: [['/n?chunked'], ['/n?chunked'], ['/o?chunked&size=100000'], ['/o']],
  large: [['/p?size=300000'], ['/p']],
  post: [
    ['/post/a', {}, 'POST'],
    ['/post/a', {}, 'POST'],
    ['/q', {}, 'POST'],
    ['/q', {}, 'POST'],
  ],
  off: [['/off/a'], ['/off/a']],
};

async function play(kind: Kind): Promise<{ log: Record<string, string[]>; seen: string[] }> {
  const backend = await new Backend().start();
  const server = await Server.start({ kind, http: config(backend.port) });
  const log: Record<string, string[]> = {};
  // Those that wait do so together.
  await Promise.all(
    Object.entries(SCENARIOS).map(async ([name, steps]) => {
      const lines: string[] = (log[name] = []);
      for (const step of steps) {
        if (typeof step === 'number') {
          await sleep(step);
          continue;
        }
        const [url, headers = {}, method = 'GET'] = step;
        const answer = await request(server.port, url, { method, headers });
        const shown = [
          'x-cache',
          'etag',
          'content-range',
          'accept-ranges',
          'set-cookie',
          'location',
          'content-length',
        ]
          .map((h) => `${answer.header(h) ?? '-'}`)
          .join(' ');
        lines.push(
          `${method} ${url} ${answer.status} ${shown} ${answer.body.slice(0, 40)} ${answer.body.length}`,
        );
      }
    }),
  );
  await server.stop();
  backend.stop();
  return { log, seen: backend.seen.sort() };
}

void t.test('as nginx does', { skip: noNginx }, async (t) => {
  const [ours, theirs] = await Promise.all([play('moonphase'), play('nginx')]);
  for (const name of Object.keys(SCENARIOS)) t.strictSame(ours.log[name], theirs.log[name], name);
  t.strictSame(ours.seen, theirs.seen, 'what the backend was asked');
});

void t.test('one request fills what many wait for', async (t) => {
  const backend = await new Backend().start();
  const server = await Server.start({ http: config(backend.port), workers: 2 });
  t.teardown(async () => {
    await server.stop();
    backend.stop();
  });
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => request(server.port, '/lock/a?wait=300')),
  );
  t.strictSame([...new Set(answers.map((a) => a.body))], ['/lock/a 1 ']);
  t.equal(backend.calls.get('GET /lock/a'), 1);
  t.equal(answers.filter((a) => a.header('x-cache') === 'MISS').length, 1);
  t.equal(answers.filter((a) => a.header('x-cache') === 'HIT').length, 19);
});

/** What has come by the end of the body, whatever becomes of the connection. */
function atOnce(port: number, path: string): Promise<{ cache: unknown; body: string }> {
  const agent = new http.Agent({ keepAlive: true });
  return new Promise((done, failed) => {
    http
      .get({ port, path, agent }, (res) => {
        let body = '';
        res.on('data', (data: Buffer) => (body += data.toString()));
        res.on('end', () => {
          done({ cache: res.headers['x-cache'], body });
          agent.destroy();
        });
      })
      .on('error', failed);
  });
}

void t.test('a background update: the old answer at once, the new one afterwards', async (t) => {
  const backend = await new Backend().start();
  const server = await Server.start({ http: config(backend.port) });
  t.teardown(async () => {
    await server.stop();
    backend.stop();
  });
  t.equal((await request(server.port, '/background/a?wait=200')).body, '/background/a 1 ');
  await sleep(2100);
  const began = Date.now();
  // The answer is there, but the connection is only free when the update is over.
  const old = await atOnce(server.port, '/background/a?wait=200');
  t.strictSame([old.cache, old.body], ['STALE', '/background/a 1 ']);
  t.ok(Date.now() - began < 150, 'nobody waits');
  const meanwhile = await atOnce(server.port, '/background/a?wait=200');
  t.strictSame([meanwhile.cache, meanwhile.body], ['UPDATING', '/background/a 1 ']);
  await sleep(500);
  const fresh = await request(server.port, '/background/a?wait=200');
  t.strictSame([fresh.header('x-cache'), fresh.body], ['HIT', '/background/a 2 ']);
  t.equal(backend.calls.get('GET /background/a'), 2);
});

void t.test('the client goes, the answer is kept', async (t) => {
  const backend = await new Backend().start();
  const server = await Server.start({ http: config(backend.port) });
  t.teardown(async () => {
    await server.stop();
    backend.stop();
  });
  const gone = http.get({ port: server.port, path: '/gone?size=3000000' });
  await new Promise<void>((done) =>
    gone.on('response', (res) => {
      res.once('data', () => {
        gone.destroy();
        done();
      });
    }),
  );
  gone.on('error', () => undefined);
  await sleep(700);
  const kept = await request(server.port, '/gone?size=3000000');
  t.equal(kept.header('x-cache'), 'HIT');
  t.equal(kept.body.length, 3000000);
});

function filesBelow(dir: string): string[] {
  return fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((f) => f.isFile())
    .map((f) => f.name);
}

void t.test('what is not asked for goes; a restart finds what there is', async (t) => {
  const backend = await new Backend().start();
  t.teardown(() => backend.stop());
  const server = await Server.start({
    http: `
      proxy_cache_path $prefix/short keys_zone=short:1m inactive=1s use_temp_path=off;
      proxy_cache_path $prefix/small keys_zone=small:1m max_size=100k;
      proxy_cache_path $prefix/kept levels=2 keys_zone=kept:1m;
      server { listen 127.0.0.1:$port; proxy_cache_valid 10m; add_header X-Cache $upstream_cache_status;
        location /short { proxy_cache short; proxy_pass http://127.0.0.1:${backend.port}; }
        location /small { proxy_cache small; proxy_pass http://127.0.0.1:${backend.port}; }
        location /kept { proxy_cache kept; proxy_pass http://127.0.0.1:${backend.port}; } }`,
    workers: 1,
  });
  t.teardown(() => server.stop());
  await request(server.port, '/short');
  t.equal(filesBelow(path.join(server.prefix, 'short')).length, 1);
  for (let i = 0; i < 20; i++) await request(server.port, `/small/${i}?size=20000`);
  await request(server.port, '/kept');
  for (let i = 0; i < 100 && filesBelow(path.join(server.prefix, 'short')).length > 0; i++)
    await sleep(100);
  t.equal(filesBelow(path.join(server.prefix, 'short')).length, 0, 'inactive');
  for (let i = 0; i < 100 && filesBelow(path.join(server.prefix, 'small')).length > 5; i++)
    await sleep(100);
  t.ok(filesBelow(path.join(server.prefix, 'small')).length <= 5, 'max_size');
  t.equal(
    (await request(server.port, '/small/19?size=20000')).header('x-cache'),
    'HIT',
    'the newest are there',
  );
  t.equal((await request(server.port, '/kept')).header('x-cache'), 'HIT');
  t.notMatch(server.errorLog(), /\[(emerg|alert|crit|error)\]/);
});

void t.test('either finds what the other has kept', { skip: noNginx }, async (t) => {
  const backend = await new Backend().start();
  t.teardown(() => backend.stop());
  for (const [first, second] of [
    ['nginx', 'moonphase'],
    ['moonphase', 'nginx'],
  ] as const) {
    const dir = t.testdir({});
    const text = `proxy_cache_path ${dir} levels=1:2 keys_zone=one:1m use_temp_path=off;
      server { listen 127.0.0.1:$port; location / { proxy_cache one; proxy_cache_key $uri; proxy_cache_valid 10m;
        add_header X-Cache $upstream_cache_status; proxy_pass http://127.0.0.1:${backend.port}; } }`;
    const one = await Server.start({ kind: first, http: text });
    const body = (await request(one.port, `/${first}?size=20000&h-etag=%22z%22`)).body;
    await one.stop();
    const two = await Server.start({ kind: second, http: text });
    const again = await request(two.port, `/${first}`);
    await two.stop();
    t.strictSame(
      [again.header('x-cache'), again.header('etag'), again.body],
      ['HIT', '"z"', body],
      second,
    );
  }
});

void t.test('what is wrong is said in nginx’s words', async (t) => {
  const wrong: readonly (readonly [string, RegExp])[] = [
    [
      'proxy_cache_path $prefix/a inactive=1m;',
      /"proxy_cache_path" must have "keys_zone" parameter/,
    ],
    [
      'proxy_cache_path $prefix/a keys_zone=a:1k;',
      /keys zone "keys_zone=a:1k" is too small|keys zone "a" is too small/,
    ],
    ['proxy_cache_path $prefix/a levels=3 keys_zone=a:1m;', /invalid "levels" "levels=3"/],
    ['proxy_cache nobody;', /"proxy_cache" zone "nobody" is unknown/],
    ['proxy_cache_valid x 1m;', /invalid status "x"/],
  ];
  for (const [text, words] of wrong) {
    const message = await Server.start({
      http: `${text} server { listen 127.0.0.1:$port; location / { proxy_pass http://127.0.0.1:1; } }`,
    }).then(
      async (s) => (await s.stop(), 'it started'),
      (error: Error) => error.message,
    );
    t.match(message, words, text);
  }
});
