// proxy_pass and connections that change their protocol (101): bytes go both ways, as with Debian's nginx.
import fs from 'node:fs';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { request } from '../helpers/http.js';
import { type Kind, Server } from '../helpers/server.js';

const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\nX-Seen: yes\r\n\r\n';

/** Speaks HTTP until the end of a head, then says everything back; `!` ends the connection, `/first` speaks first. */
async function startPeer(
  t: import('tap').Test,
): Promise<{ port: number; heads: string[]; open: Set<net.Socket> }> {
  const heads: string[] = [];
  const open = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => undefined);
    let head = '';
    socket.on('data', (data) => {
      if (head.endsWith('\r\n\r\n')) {
        const end = data.indexOf('!');
        if (end >= 0) socket.end(data.subarray(0, end));
        else socket.write(data);
        return;
      }
      head += data.toString('latin1');
      if (!head.endsWith('\r\n\r\n')) return;
      heads.push(head);
      if (head.startsWith('GET /refused')) {
        socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
      } else {
        socket.write(head.startsWith('GET /first') ? `${SWITCH}hello` : SWITCH);
      }
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.teardown(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return { port: (server.address() as net.AddressInfo).port, heads, open };
}

/** A client; what has come is in `text`. */
class Client {
  text = '';
  ended = false;
  readonly socket: net.Socket;
  constructor(port: number, path: string, more = '') {
    this.socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.socket.on('data', (data) => (this.text += data.toString('latin1')));
    this.socket.on('end', () => (this.ended = true));
    this.socket.on('error', () => (this.ended = true));
    this.socket.write(
      `GET ${path} HTTP/1.1\r\nHost: x\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n${more}`,
    );
  }
  async until(done: () => boolean): Promise<void> {
    for (let i = 0; i < 200 && !done(); i++) await sleep(20);
  }
  get body(): string {
    return this.text.slice(this.text.indexOf('\r\n\r\n') + 4);
  }
}

function start(kind: Kind, port: number, more = ''): Promise<Server> {
  return Server.start({
    kind,
    http: `server { listen 127.0.0.1:$port; ${more}
      location / { proxy_pass http://127.0.0.1:${port}; proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; } }`,
  });
}

const kinds: readonly Kind[] = fs.existsSync('/usr/sbin/nginx')
  ? ['moonphase', 'nginx']
  : ['moonphase'];

for (const kind of kinds) {
  void t.test(`both ways (${kind})`, async (t) => {
    const peer = await startPeer(t);
    const server = await start(kind, peer.port);
    t.teardown(() => server.stop());

    const one = new Client(server.port, '/echo', 'early');
    await one.until(() => one.body === 'early');
    t.match(one.text, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
    t.match(one.text, /\r\nUpgrade: echo\r\n/);
    t.match(one.text, /\r\nConnection: upgrade\r\n/);
    t.match(one.text, /\r\nX-Seen: yes\r\n/);
    t.equal(one.body, 'early', 'what came with the request');
    t.match(peer.heads[0], /\r\nUpgrade: echo\r\n/);

    const large = 'x'.repeat(500_000);
    one.socket.write(large);
    await one.until(() => one.body.length === large.length + 5);
    t.equal(one.body.length, large.length + 5, 'more than fits in the buffers');

    one.socket.write('bye!');
    await one.until(() => one.ended);
    t.ok(one.ended, 'the server has ended it');
    t.ok(one.body.endsWith('bye'));

    const two = new Client(server.port, '/first');
    await two.until(() => two.body === 'hello');
    t.equal(two.body, 'hello', 'the server speaks first');
    t.equal(peer.open.size, 1);
    two.socket.end();
    await two.until(() => peer.open.size === 0);
    t.equal(peer.open.size, 0, 'the client has ended it');

    const refused = await request(server.port, '/refused', { headers: { Upgrade: 'echo' } });
    t.strictSame([refused.status, refused.body], [403, 'no']);
  });
}

void t.test('silence ends it after proxy_read_timeout; a reload does not', async (t) => {
  const peer = await startPeer(t);
  const server = await Server.start({
    workers: 1,
    http: `server { listen 127.0.0.1:$port;
      proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";
      location / { proxy_pass http://127.0.0.1:${peer.port}; }
      location /short { proxy_pass http://127.0.0.1:${peer.port}; proxy_read_timeout 300ms; } }`,
  });
  t.teardown(() => server.stop());
  const short = new Client(server.port, '/short');
  const long = new Client(server.port, '/long', 'a');
  await short.until(() => short.ended);
  t.ok(short.ended);
  t.ok(await server.logged(/upstream timed out .* while proxying upgraded connection/));
  server.signal('SIGHUP');
  t.ok(await server.logged('gracefully shutting down'));
  long.socket.write('b');
  await long.until(() => long.body === 'ab');
  t.equal(long.body, 'ab', 'in the worker of before');
  long.socket.destroy();
});
