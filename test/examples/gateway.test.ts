// examples/gateway answers as its configuration says, with real backends.
import t from 'tap';
import { Backend, chaos, Gateway, TOKEN, webSocket } from './gateway.mjs';

void t.test('auth, groups, limits, WebSockets, added upstreams, the log', async (t) => {
  const gateway = await Gateway.start();
  const backends = gateway.ports.slice(0, 3).map((port, i) => new Backend(`b${i}`, port));
  await Promise.all(backends.map((backend) => backend.start()));
  t.teardown(async () => {
    await gateway.stop();
    await Promise.all(backends.map((backend) => backend.kill()));
  });

  const refused = await gateway.get('/users/1', { token: '' });
  t.equal(refused.status, 401);
  t.equal(refused.headers['www-authenticate'], 'Bearer');
  t.equal((await gateway.get('/users/1')).text, 'b0 ada /users/1');
  t.equal((await gateway.get('/orders/2', { token: 'secret-of-bob' })).text, 'b1 bob /orders/2');

  t.equal((await gateway.get('/to/fresh/x')).status, 502, 'nobody knows it');
  const added = await gateway.put('fresh', [`127.0.0.1:${gateway.ports[2]}`]);
  t.ok(added.status < 300, added.text);
  t.equal((await gateway.get('/to/fresh/x')).text, 'b2 ada /to/fresh/x');

  const ws = await webSocket(gateway.port, `/ws?token=${TOKEN}`);
  t.equal(ws.user, 'ada');
  t.equal(await ws.send('over and out'), 'over and out');
  ws.socket.destroy();
  await t.rejects(webSocket(gateway.port, '/ws?token=wrong'), { message: '403' });

  const many = await Promise.all(
    Array.from({ length: 300 }, () => gateway.get('/orders/3').then((a) => a.status)),
  );
  t.ok(many.every((status) => status === 200 || status === 429));

  t.equal((await gateway.get('/ready', { port: gateway.admin })).text, 'ok\n');
  const log = gateway.accessLog();
  t.match(
    log.find((line) => line.status === 200),
    { user: 'ada' },
  );
  t.ok(log.some((line) => line.status === 401));
});

void t.test('reloads and failing backends under load: nobody notices', async (t) => {
  const result = await chaos({ reloads: Number(process.env['GATEWAY_RELOADS'] ?? 5), clients: 4 });
  t.strictSame(result.failures, []);
  t.strictSame(result.errors, []);
  t.equal(result.lost, 0, 'messages lost');
  t.ok(result.echoed > 10, `${result.echoed} messages`);
  t.ok(result.requests > 100, `${result.requests} requests`);
});
