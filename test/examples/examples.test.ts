// The examples answer as their README says. lua-resty-redis is Debian's, under its usual name. Libraries that no registry
// has are looked for under MOONPHASE_TEST_LIBS (checkouts side by side); without it stand-ins of our own, which use the
// same ngx APIs in the same style, take their place.
import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { startExample } from '../helpers/example.js';
import { request } from '../helpers/http.js';
import { root } from '../helpers/server.js';
import { redisCommand, startRedis } from '../helpers/services.js';

const standIns: Record<string, string> = {};
const standInDir = path.join(root, 'test/helpers/lua/resty');
const luaPath = process.env['MOONPHASE_TEST_LIBS']
  ? ['lua-resty-limit-traffic', 'lua-resty-lock', 'lua-resty-mlcache']
      .map((lib) => `${process.env['MOONPHASE_TEST_LIBS']}/${lib}/lib/?.lua`)
      .join(';')
  : '$prefix/standin/?.lua';
for (const file of fs.readdirSync(standInDir, { recursive: true, encoding: 'utf8' }))
  if (file.endsWith('.lua'))
    standIns[`standin/resty/${file}`] = fs.readFileSync(path.join(standInDir, file), 'latin1');

const debianRedis = '/usr/share/lua/5.1/nginx/redis.lua';

t.test('hello', async (t) => {
  const server = await startExample('hello');
  t.teardown(() => server.stop());
  const answer = await request(server.port, '/hello');
  t.equal(answer.status, 200);
  t.match(answer.body, /hello/i);
});

const noRedis = !fs.existsSync(debianRedis) && 'lua-nginx-redis is not installed';
t.test(
  'api: JSON out of redis, 404 for what is not there, 500 when redis is down',
  { skip: noRedis },
  async (t) => {
    const redis = await startRedis();
    await redisCommand(redis.port, 'SET', 'user:7', '{"name":"Ada"}');
    const server = await startExample('api', {
      luaPath: '$prefix/standin/?.lua',
      extraFiles: { 'standin/resty/redis.lua': fs.readFileSync(debianRedis, 'latin1') },
      env: { REDIS_HOST: '127.0.0.1', REDIS_PORT: String(redis.port) },
    });
    t.teardown(() => server.stop());

    for (let i = 0; i < 3; ++i) {
      const found = await request(server.port, '/users/7');
      t.equal(found.status, 200);
      t.equal(found.header('content-type'), 'application/json');
      t.same(JSON.parse(found.body), { name: 'Ada', id: 7 });
    }
    const missing = await request(server.port, '/users/8');
    t.equal(missing.status, 404);
    t.same(JSON.parse(missing.body), { error: 'user not found' });
    t.equal(server.errorLog().includes('[error]'), false, 'nothing is logged so far');

    await redis.stop();
    // The pooled connection is noticed to be closed, then the new one is refused.
    const down = await request(server.port, '/users/7');
    t.equal(down.status, 500);
    t.same(JSON.parse(down.body), { error: 'storage is not available' });
    t.ok(await server.logged('failed to connect to redis: connection refused'));
  },
);

t.test('limits', async (t) => {
  const server = await startExample('limits', { luaPath, extraFiles: standIns });
  t.teardown(() => server.stop());

  const rate = await Promise.all(Array.from({ length: 8 }, () => request(server.port, '/rate')));
  t.equal(rate.filter((a) => a.status === 200).length, 4, 'one at once and three delayed');
  for (const refused of rate.filter((a) => a.status !== 200)) {
    t.equal(refused.status, 429);
    t.equal(refused.header('content-type'), 'application/json');
    t.equal(refused.body, '{"error":"Too Many Requests"}\n');
  }
  const counts = [];
  for (let i = 0; i < 6; ++i) counts.push(await request(server.port, '/count'));
  t.same(
    counts.map((a) => a.status),
    [200, 200, 200, 200, 200, 429],
  );
  t.same(
    counts.slice(0, 5).map((a) => a.header('x-ratelimit-remaining')),
    ['4', '3', '2', '1', '0'],
  );

  const first = request(server.port, '/conn');
  await new Promise((done) => setTimeout(done, 100));
  t.equal((await request(server.port, '/conn')).status, 429, 'a second one at the same time');
  t.equal((await first).status, 200);
  t.equal((await request(server.port, '/conn')).status, 200, 'the place is free again');
  t.equal(server.errorLog().includes('[error]'), false);
});

t.test('auth: an internal location is asked', async (t) => {
  const server = await startExample('auth');
  t.teardown(() => server.stop());
  const refused = await request(server.port, '/orders/1');
  t.equal(refused.status, 401);
  t.equal(refused.header('content-type'), 'application/json');
  t.equal(refused.body, '{"error":"Unauthorized"}\n');
  const welcome = await request(server.port, '/orders/1', {
    headers: { Authorization: 'Bearer token-of-ann' },
  });
  t.equal(welcome.status, 200);
  t.same(JSON.parse(welcome.body), { user: 'ann', path: '/orders/1' });
  t.equal((await request(server.port, '/auth')).status, 404, 'internal means internal');
});

t.test('access-log: one JSON line per request', async (t) => {
  const server = await startExample('access-log');
  t.teardown(() => server.stop());
  await request(server.port, '/a%20b?x=1', { headers: { 'User-Agent': 'test "quoted"' } });
  await request(server.port, '/missing', { method: 'POST', body: 'x' });
  t.ok(await server.logged('"\\/missing"'));
  const lines = [
    ...server
      .errorLog()
      .matchAll(
        /\[info\] .*?\[lua\] log_request\.lua:\d+: REQUEST_LOG: (\{.*?\})(?: while logging request)?, client: 127\.0\.0\.1/g,
      ),
  ];
  const [first, second] = lines.map((m) => JSON.parse(m[1] as string) as Record<string, unknown>);
  t.equal(lines.length, 2);
  t.match(first, {
    method: 'GET',
    uri: '/a b',
    request_uri: '/a%20b?x=1',
    status: 200,
    user_agent: 'test "quoted"',
    remote_addr: '127.0.0.1',
  });
  t.match(second, { method: 'POST', uri: '/missing', status: 404 });
  t.match(first?.['request_id'], /^[0-9a-f]{32}$/);
  t.ok(Math.abs(Number(first?.['time']) - Date.now() / 1000) < 10);
});

t.test('cache: two levels, one load at a time', async (t) => {
  const server = await startExample('cache', { luaPath, extraFiles: standIns });
  t.teardown(() => server.stop());
  const stampede = await Promise.all(
    Array.from({ length: 10 }, () => request(server.port, '/page/a')),
  );
  for (const answer of stampede) t.equal(answer.body, 'page a, load 1\n');
  t.equal(stampede.filter((a) => a.header('x-cache') === 'origin').length, 1);
  t.equal((await request(server.port, '/page/a')).header('x-cache'), 'l1');
  await new Promise((done) => setTimeout(done, 1100));
  t.equal((await request(server.port, '/page/a')).header('x-cache'), 'l2');

  if (process.env['MOONPHASE_TEST_LIBS']) {
    const levels = [];
    for (let i = 0; i < 2; ++i)
      levels.push((await request(server.port, '/mlcache/b')).header('x-cache'));
    t.same(levels, ['origin', 'l1']);
  }
  t.equal(server.errorLog().includes('[error]'), false, server.errorLog());
});
