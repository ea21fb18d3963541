// What workers count together: stub_status, limit_req; and limits over a reload.
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { request } from '../helpers/http.js';
import { Server } from '../helpers/server.js';

void t.test('stub_status is the sum of all workers', async (t) => {
  const server = await Server.start({
    workers: 3,
    http: 'server { listen 127.0.0.1:$port; location = /status { stub_status; } location / { return 204; } }',
  });
  t.teardown(() => server.stop());
  const status = async (): Promise<number[]> =>
    ((await request(server.port, '/status')).body.match(/\d+/g) ?? []).map(Number);
  const before = await status();
  const idle = await Promise.all(
    Array.from(
      { length: 30 },
      () =>
        new Promise<net.Socket>((done) => {
          const socket = net.connect(server.port, '127.0.0.1');
          socket.once('data', () => done(socket));
          socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
        }),
    ),
  );
  const [active = 0, accepted = 0, handled = 0, requests = 0, , , waiting = 0] = await status();
  t.equal(active, 31, 'active');
  t.equal(accepted - (before[1] ?? 0), 31, 'accepted');
  t.equal(handled, accepted);
  t.equal(requests - (before[3] ?? 0), 31, 'requests');
  t.equal(waiting, 30, 'waiting');
  for (const socket of idle) socket.destroy();
  for (let i = 0; i < 100 && (await status())[0] !== 1; i++) await sleep(20);
  t.equal((await status())[0], 1, 'they have gone');
});

void t.test('limit_req counts over all workers; a zone keeps its key', async (t) => {
  const text = (key: string, size = '1m'): string => `
    limit_req_zone ${key} zone=few:${size} rate=1r/m;
    server { listen 127.0.0.1:$port; location / { limit_req zone=few burst=4 nodelay; empty_gif; } }`;
  const server = await Server.start({ workers: 3, http: text('$scheme') });
  t.teardown(() => server.stop());
  const answers = await Promise.all(Array.from({ length: 30 }, () => request(server.port, '/')));
  t.equal(answers.filter((a) => a.status === 200).length, 5);

  const conf = path.join(server.prefix, 'conf/nginx.conf');
  const old = fs.readFileSync(conf, 'latin1');
  fs.writeFileSync(conf, old.replace('$scheme', '$remote_addr'));
  server.signal('SIGHUP');
  t.ok(
    await server.logged(
      'limit_req "few" uses the "$remote_addr" key while previously it used the "$scheme" key',
    ),
  );
  t.equal((await request(server.port, '/')).status, 503, 'as before');
  fs.writeFileSync(conf, old.replace('$scheme zone=few:1m', '$remote_addr zone=few:2m'));
  server.signal('SIGHUP');
  t.ok(await server.logged('gracefully shutting down'));
  t.equal((await request(server.port, '/')).status, 200, 'a zone of another size is a new one');
});
