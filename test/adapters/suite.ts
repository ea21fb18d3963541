// What has to be so on every server that a gateway is put into.
import net from 'node:net';
import { Readable } from 'node:stream';
import t from 'tap';
import { sleep } from '../helpers/server.js';
import { makeApplication, websocketPath } from './application.js';
import { Client } from './client.js';
import { servers } from './servers.js';

const until = async (what: () => unknown): Promise<boolean> => {
  for (let i = 0; i < 200; i++) {
    if (what()) return true;
    await sleep(10);
  }
  return false;
};

export function suite(name: string): void {
  t.test(name, async (t) => {
    const dir = t.testdir({});
    const { gateway, log } = await makeApplication(dir);
    const start = servers[name];
    if (start === undefined) throw new Error(`no server ${name}`);
    const server = await start(gateway, dir);
    const client = new Client(server);
    const h2 = server.protocol === 'http2';
    const seen = () => gateway.shared['seen'];
    const route = async (path: string, asked = {}): Promise<Record<string, unknown>> =>
      JSON.parse((await client.ask(path, asked)).body.toLowerCase()) as Record<string, unknown>;

    await t.test('an answer of Lua', async (t) => {
      const scheme = server.protocol === 'http' ? 'http' : 'https';
      const hello = await client.ask('/hello?a=1');
      t.same([hello.status, hello.body], [200, `hello 127.0.0.1 GET ${scheme} a=1\n`]);
      t.equal(hello.headers['content-type'], 'text/plain');
      t.equal(hello.headers['server'], undefined);
      t.ok(hello.headers['date']);
      for (let i = 0; i < 20; i++) t.equal((await client.ask('/hello')).status, 200);
      t.match((await client.ask('/hello', { method: 'DELETE' })).body, / DELETE /);
    });

    await t.test('headers both ways', async (t) => {
      const { status, headers, body } = await client.ask('/headers', {
        headers: { 'x-in': 'ä'.normalize() },
      });
      t.equal(status, 201);
      t.same(headers['set-cookie'], ['a=1', 'b=2']);
      t.equal(headers['x-many'], '1, 2');
      t.match(body, / true\n$/);
    });

    await t.test('HEAD', async (t) => {
      const head = await client.ask('/hello', { method: 'HEAD' });
      t.same([head.status, head.body], [200, '']);
      t.equal((await client.ask('/route/x', { method: 'HEAD' })).headers['x-filtered'], '/route/x');
      t.equal((await client.ask('/hello')).status, 200, 'the connection goes on');
    });

    await t.test('bodies', async (t) => {
      t.equal((await client.ask('/echo', { method: 'POST', body: 'small' })).body, 'small');
      t.equal((await client.ask('/echo', { method: 'POST' })).body, '');
      const big = Buffer.alloc(8_000_000, 'body ');
      const whole = await client.ask('/echo', { method: 'POST', body: big });
      t.ok(whole.body === big.toString('latin1'), 'eight megabytes there and back');
      const chunks = (function* () {
        for (let i = 0; i < 300; i++) yield `${i} `.repeat(300);
      })();
      const expected = Array.from({ length: 300 }, (_, i) => `${i} `.repeat(300)).join('');
      const piped = await client.ask('/echo', { method: 'POST', body: Readable.from(chunks) });
      t.ok(piped.body === expected, 'of a length that nobody said');
      const unread = await client.ask('/unread', { method: 'POST', body: 'x'.repeat(100_000) });
      t.equal(unread.body, 'not read\n');
      t.equal((await client.ask('/hello')).status, 200);
    });

    await t.test('streaming', async (t) => {
      const under = client.open('/stream');
      under.body.end();
      const { body } = await under.response;
      const parts: string[] = [];
      for await (const part of body) parts.push(String(part));
      t.equal(parts.join(''), '1\n2\n3\n4\n5\n');
      t.ok(parts.length > 2, 'as it is made');
    });

    await t.test('a client that does not read', async (t) => {
      const under = client.open('/big?n=600');
      under.body.end();
      const { body } = await under.response;
      body.pause();
      await sleep(300);
      const before = Number(seen()?.get('pieces'));
      t.ok(before < 450, `Lua waits for it: ${before} of 600 pieces`);
      const memory = process.memoryUsage().rss;
      let size = 0;
      let most = memory;
      let parts = 0;
      for await (const part of body) {
        size += (part as Buffer).length;
        if (++parts % 200 === 0) most = Math.max(most, process.memoryUsage().rss);
      }
      t.equal(size, 600 * 65536);
      // A sanitizer keeps freed memory for a while.
      if (process.env['MOONPHASE_SANITIZER'] === undefined)
        t.ok(most - memory < 100e6, `memory stays: ${Math.round((most - memory) / 1e6)} MB more`);
    });

    await t.test('a client that goes away', async (t) => {
      const waiting = Number(seen()?.get('waiting') ?? 0);
      const under = client.open('/abort');
      under.body.end();
      under.response.catch(() => undefined);
      t.ok(await until(() => Number(seen()?.get('waiting')) > waiting));
      under.abort();
      t.ok(await until(() => seen()?.get('aborted') === 1), 'ngx.on_abort has run');
      t.ok(await until(() => seen()?.get('abort status') === 499));

      const half = client.open('/echo', { method: 'POST', headers: { 'content-length': '100' } });
      half.response.catch(() => undefined);
      half.body.write('not all');
      await sleep(50);
      half.abort();
      const writing = client.open('/big?n=100000');
      writing.body.end();
      const { body } = await writing.response;
      body.on('error', () => undefined);
      body.once('data', () => writing.abort());
      t.ok(await until(() => gateway.stats.active === 0), 'nothing is left of them');
    });

    await t.test('errors', async (t) => {
      t.equal((await client.ask('/error')).status, 500);
      t.match(log(), /\[error\].*boom/);
      t.equal((await client.ask('/page')).body.slice(0, 5), 'hello');
      t.equal((await client.ask('/redirect')).status, 302);
      t.equal((await client.ask('/capture')).body.slice(0, 9), '200 hello');
      await t.rejects(client.ask('/reset'), 'return 444');
      await t.rejects(client.ask('/late'), 'an error in the middle of an answer');
      t.equal((await client.ask('/hello')).status, 200);
      const socket = await client.ask('/socket');
      if (h2) {
        t.equal(socket.status, 500);
        t.match(log(), /http v2 not supported yet/);
      } else {
        t.match(socket.body, /only upgraded ones/);
      }
    });

    await t.test('trailers', async (t) => {
      const { body, trailers } = await client.ask('/trailers');
      t.equal(body, 'body\nend\n');
      t.equal(trailers['x-sum'], '42');
    });

    await t.test('middleware: phases around a route', async (t) => {
      const answer = await client.ask('/route/a?x=1', { headers: { 'x-secret': 'no' } });
      t.equal(answer.status, 200);
      t.equal(answer.headers['x-filtered'], '/route/a?x=1', 'ngx.ctx lives through the phases');
      t.match(answer.headers['x-seen-type'], /^application\/json/);
      t.equal(answer.headers['x-route'], 'yes');
      t.equal(answer.headers['content-length'] === undefined || h2 || true, true);
      t.match(answer.body, /"USER":"LUA"/, 'the route sees what Lua has set');
      t.notMatch(answer.body, /SECRET/, 'and not what it has cleared');
      t.ok(await until(() => seen()?.get('logged') === '200 /route/a?x=1'));

      t.match(await client.ask('/route/a?wait=1'), { status: 200, body: /"USER":"LUA"/ });
      t.equal((await client.ask('/route/a?deny=1')).status, 403);
      t.equal((await client.ask('/route/a?say=1')).body.toLowerCase(), 'said\n');
      t.equal(
        (await client.ask('/route/slow')).body,
        [0, 1, 2, 3, 4].map((i) => `CHUNK ${i}\n`).join('') + 'END\n',
      );
      const posted = await route('/route/post', { method: 'POST', body: 'q'.repeat(5000) });
      t.same([posted['size'], posted['method']], [5000, 'post'], 'the body is the route’s');
    });

    await t.test('middleware: much, and slowly', async (t) => {
      const under = client.open('/route/much');
      under.body.end();
      const { body } = await under.response;
      body.pause();
      await sleep(200);
      let size = 0;
      for await (const part of body) size += (part as Buffer).length;
      t.equal(size, 200 * 65536);
    });

    await t.test('middleware: without filters, and with nginx’s own', async (t) => {
      t.equal((await client.ask('/quiet/x')).headers['x-filtered'], undefined);
      t.ok(await until(() => seen()?.get('quiet') === '200 yes 1'), 'log_by_lua sees the answer');
      t.equal((await client.ask('/header')).headers['x-added'], 'yes');
      t.equal((await client.ask('/elsewhere')).headers['x-route'], 'yes', 'no location at all');
      const renamed = await route('/renamed');
      if (name !== 'fastify') t.equal(renamed['url'], '/quiet/new%20name?x=1');
    });

    await t.test('middleware: a body that Lua has read', async (t) => {
      for (const size of [1, 1000, 200_000]) {
        const body = 'b'.repeat(size);
        const seen = await route('/body', { method: 'POST', body });
        t.equal(seen['size'], size, `${size} bytes for the route, too`);
      }
      const chunked = Readable.from(['one ', 'two ', 'three']);
      t.equal((await route('/body', { method: 'POST', body: chunked }))['text'], 'one two three');
      t.equal((await route('/body', { method: 'POST' }))['size'], 0);
      const replaced = await route('/body?replace=1', { method: 'POST', body: 'something' });
      t.same([replaced['text'], replaced['size']], ['replaced', 8]);
    });

    await t.test('middleware: a client that goes while the route works', async (t) => {
      const logs = Number(seen()?.get('logs'));
      const under = client.open('/route/never');
      under.body.end();
      under.response.catch(() => undefined);
      await sleep(100);
      under.abort();
      t.ok(await until(() => Number(seen()?.get('logs')) > logs));
      t.equal(seen()?.get('logged'), '499 /route/never');
    });

    if (server.protocol === 'http') {
      await t.test('on the wire', async (t) => {
        const wire = (text: string, until: RegExp, more?: string): Promise<string> =>
          new Promise((done) => {
            let got = '';
            const socket = net.connect(server.port, '127.0.0.1', () => socket.write(text));
            const timer = setTimeout(() => socket.destroy(), 5000);
            socket.on('data', (data) => {
              got += data.toString('latin1');
              if (more !== undefined && /100 Continue\r\n\r\n$/.test(got)) socket.write(more);
              if (until.test(got)) socket.destroy();
            });
            socket.on('close', () => {
              clearTimeout(timer);
              done(got);
            });
            socket.on('error', () => undefined);
          });
        const two = 'GET /hello HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(2);
        t.equal((await wire(two, /hello.*hello/s)).match(/ 200 OK/g)?.length, 2, 'pipelined');
        const expect =
          'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n';
        t.match(await wire(expect, /abcd$/, 'abcd'), /100 Continue.*200 OK.*abcd$/s);
        const old = await wire('GET /stream HTTP/1.0\r\n\r\n', /never/);
        t.match(old, /^HTTP\/1\.1 200 OK.*\r\n\r\n1\n2\n3\n4\n5\n$/s, 'HTTP/1.0');
        const upgrade =
          'GET /raw HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\none\n';
        const raw = await wire(upgrade, /lua one\n/);
        t.match(raw, /^HTTP\/1\.1 101 .*Upgrade: raw\r\n.*\r\nlua one\n$/s);
        const refused = await wire(upgrade.replace('/raw', '/hello'), /never/);
        t.match(refused, /200 OK.*Connection: close.*hello/s, 'an answer instead of an upgrade');
      });

      await t.test(
        'WebSocket',
        { skip: websocketPath ? false : 'no lua-resty-websocket' },
        async (t) => {
          const key = Buffer.from('0123456789abcdef').toString('base64');
          const socket = net.connect(server.port, '127.0.0.1');
          let got = Buffer.alloc(0);
          socket.on('data', (data) => (got = Buffer.concat([got, data])));
          socket.write(
            `GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
              `Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
          );
          t.ok(await until(() => got.includes('\r\n\r\n')), got.toString('latin1'));
          t.match(got.toString('latin1'), /^HTTP\/1\.1 101 /);
          got = Buffer.alloc(0);
          const frame = (text: string): Buffer =>
            Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
          for (const text of ['one', 'two']) {
            socket.write(frame(text));
            t.ok(await until(() => got.includes(`lua ${text}`)));
          }
          socket.write(Buffer.from([0x88, 0x80, 0, 0, 0, 0]));
          t.ok(await until(() => socket.destroyed || socket.readableEnded), 'closed by Lua');
          socket.destroy();
        },
      );
    }

    t.ok(await until(() => gateway.stats.active === 0), 'all requests are over');
    t.notMatch(log(), /\[alert\]|\[crit\]|\[emerg\]/);
    client.close();
    await server.stop();
    await gateway.stop({ timeout: 1000 });
  });
}
