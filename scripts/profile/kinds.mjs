// The requests of a training run, and how often each is made in a round.
//
// What decides the mix: a profile says which code is hot, and the compiler makes that code faster and keeps the rest
// small. So the counts follow, by order of magnitude, what servers of OpenResty do all day: small answers of Lua, requests
// with all phases, proxied requests with and without Lua, and cosockets with a pool are the bulk; text, dictionaries,
// bodies, files, TLS and HTTP/2 come next; what happens once for a connection or by exception (handshakes, errors,
// redirects) is there so that it does not pass for code that never runs. A case of bench/ is a case of none of these: what
// is measured there is not what was trained. Large bodies are few, since their loops would outweigh all else.
import assert from 'node:assert/strict';

const token = { 'X-Token': 'secret' };
const browser = {
  'User-Agent': 'Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101',
  Accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
  'Accept-Language': 'en',
  'Accept-Encoding': 'gzip, deflate',
  Cookie: 'session=abcdef; theme=dark',
};

const is = (answer, status, text) => {
  assert.equal(answer.status, status, answer.text);
  if (text instanceof RegExp) assert.match(answer.text, text);
  else if (text !== undefined) assert.equal(answer.text, text);
  return answer;
};
const sized = (answer, size) => assert.deepEqual([answer.status, answer.size], [200, size]);
const large = 100 * 1024;

/** name: [how often, what(client, number)] */
export const serverKinds = {
  hello: [120, async (c) => is(await c.get('/hello'), 200, 'hello, world\n')],
  pipelined: [4, async (c) => assert.equal((await c.pipelined('/hello', 16)).answers, 16)],
  api: [
    120,
    async (c, i) =>
      is(
        await c.get(`/api?id=${i}&page=3&tenant=t%20${i % 7}`, {
          headers: { ...browser, ...token },
        }),
        200,
        /"user":"u-\d+".*"page":3.*"tenant":"t%?/,
      ),
  ],
  'api, refused': [6, async (c) => is(await c.get('/api?id=1'), 401)],
  proxy: [90, async (c) => sized(await c.get('/plain/1k', { headers: browser }), 1024)],
  'proxy, chunked': [20, async (c) => sized(await c.get('/plain/1k?chunked'), 1024)],
  'proxy, 100 KB': [8, async (c) => sized(await c.get('/plain/100k'), large)],
  'proxy, 100 KB chunked': [3, async (c) => sized(await c.get('/plain/100k?chunked'), large)],
  'proxy, Lua': [
    90,
    async (c, i) =>
      sized(await c.get(i % 2 ? '/lua/1k' : '/lua/1k?second=1', { headers: token }), 1024),
  ],
  'proxy, Lua, refused': [3, async (c) => is(await c.get('/lua/1k'), 401)],
  'proxy, filters': [
    15,
    async (c) => assert.match(is(await c.get('/filtered/1k'), 200).text, /^SOME TEXT/),
  ],
  'proxy, gzip': [
    8,
    async (c) =>
      assert.equal(
        (await c.get('/packed/1k', { headers: browser })).headers['content-encoding'],
        'gzip',
      ),
  ],
  'proxy, body': [
    15,
    async (c) => is(await c.get('/post/', { method: 'POST', body: 'x'.repeat(3000) }), 200, '3000'),
  ],
  'proxy, not found': [3, async (c) => is(await c.get('/plain/none'), 404, 'none')],
  lines: [90, async (c) => is(await c.get('/lines'), 200, `${'v'.repeat(200)}\n`)],
  fetch: [40, async (c) => is(await c.get('/fetch'), 200, '200 1024')],
  secure: [10, async (c) => is(await c.get('/secure'), 200, 'hello, world\n')],
  text: [40, async (c, i) => is(await c.get(`/text?id=${i}`), 200, /"text":"aBCDEF"|"found":/)],
  dict: [40, async (c) => is(await c.get('/dict'), 200, 'true\n')],
  headers: [20, async (c) => is(await c.get('/headers', { headers: browser }), 201, /mozilla$/)],
  body: [
    25,
    async (c) =>
      is(await c.get('/body', { method: 'POST', body: 'x'.repeat(2000) }), 200, '2000\n'),
  ],
  'body, chunked': [
    6,
    async (c) => {
      const options = { method: 'POST', body: ['x'.repeat(100), 'y'.repeat(200)], chunked: true };
      is(await c.get('/body', options), 200, '300\n');
    },
  ],
  'body, in a file': [
    3,
    async (c) =>
      is(await c.get('/body', { method: 'PUT', body: 'x'.repeat(50000) }), 200, '50000\n'),
  ],
  form: [
    10,
    async (c) => is(await c.get('/form', { method: 'POST', body: 'a=1&b=%41' }), 200, '1 A\n'),
  ],
  capture: [15, async (c) => is(await c.get('/capture'), 200, 'part 1; part 2; 200')],
  exec: [8, async (c) => is(await c.get('/exec'), 200, 'hello, world\n')],
  set_uri: [8, async (c) => is(await c.get('/rewritten'), 200, 'hello, world\n')],
  threads: [15, async (c) => is(await c.get('/threads'), 200, '7\n')],
  stream: [8, async (c) => is(await c.get('/stream'), 200, /line 5\n$/)],
  gzip: [8, async (c) => is(await c.get('/long', { headers: browser }), 200)],
  tls: [30, async (c) => is(await c.secure('/hello'), 200, 'hello, world\n')],
  'tls, handshake': [4, async (c) => is(await c.secure('/hello', { fresh: true }), 200)],
  'tls, 100 KB': [2, async (c) => sized(await c.secure('/plain/100k'), large)],
  'HTTP/2': [
    30,
    async (c, i) => is(await c.multiplexed(i % 2 ? 'tls' : 'h2c', '/hello'), 200, 'hello, world\n'),
  ],
  'HTTP/2, api': [
    10,
    async (c) =>
      is(await c.multiplexed('tls', '/api?id=2&page=3&tenant=t', { 'x-token': 'secret' }), 200),
  ],
  'HTTP/2, proxy': [8, async (c) => sized(await c.multiplexed('h2c', '/plain/1k'), 1024)],
  'HTTP/2, 100 KB': [2, async (c) => sized(await c.multiplexed('tls', '/plain/100k'), large)],
  'HTTP/2, body': [
    4,
    async (c) => is(await c.multiplexed('h2c', '/body', {}, 'x'.repeat(500)), 200, '500\n'),
  ],
  file: [30, async (c) => sized(await c.get('/page.html', { headers: browser }), 2048)],
  'file, unchanged': [
    8,
    async (c) => {
      const { headers } = await c.get('/page.html');
      is(await c.get('/page.html', { headers: { 'If-None-Match': headers.etag } }), 304);
    },
  ],
  'file, part': [
    3,
    async (c) => is(await c.get('/page.html', { headers: { Range: 'bytes=10-19' } }), 206),
  ],
  'file, head': [3, async (c) => is(await c.get('/page.html', { method: 'HEAD' }), 200)],
  'file, missing': [6, async (c) => is(await c.get('/none.html'), 404, /404 Not Found/)],
  rewrite: [6, async (c) => is(await c.get('/old/hello'), 200, 'hello, world\n')],
  redirect: [4, async (c) => is(await c.get('/moved'), 301)],
  'error page': [4, async (c) => is(await c.get('/replaced'), 200, 'replaced')],
  denied: [4, async (c) => is(await c.get('/denied'), 403)],
  'Lua fails': [1, async (c) => is(await c.get('/fails'), 500)],
};

/** Those of embedded.mjs. */
export const embeddedKinds = {
  'middleware, route': [
    60,
    async (c) => is(await c.get('/route', { headers: token }), 200, 'route\n'),
  ],
  'middleware, refused': [4, async (c) => is(await c.get('/route'), 401)],
  'middleware, filters': [15, async (c) => is(await c.get('/filtered'), 200, 'ROUTE\n')],
  'in Node, hello': [30, async (c) => is(await c.get('/lua/hello'), 200, 'hello\n')],
  'in Node, body': [
    10,
    async (c) =>
      is(await c.get('/lua/body', { method: 'POST', body: 'x'.repeat(1000) }), 200, '1000\n'),
  ],
  calls: [5, async (c) => is(await c.get('/calls'), 200, 'called\n')],
};
