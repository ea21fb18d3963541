// Directives of proxy_pass that show only with a backend of one's own: trailers, rates, ranges, sockets, certificates.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { type Kind, Server } from '../helpers/server.js';

/** A server of whole answers as bytes. */
async function backend(
  t: Test,
  answer: (request: string, socket: net.Socket) => void,
): Promise<number> {
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (data) => answer(data.toString('latin1'), socket));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.teardown(() => server.close());
  return (server.address() as net.AddressInfo).port;
}

/** All that comes for a request, to the end of the connection. */
function exchange(port: number, request: string): Promise<string> {
  return new Promise((done, fail) => {
    const parts: Buffer[] = [];
    const socket = net.connect(port, '127.0.0.1', () => socket.write(request));
    socket.on('data', (data) => parts.push(data));
    socket.on('close', () => done(Buffer.concat(parts).toString('latin1')));
    socket.on('error', fail);
  });
}

const GET = (path: string, more = ''): string =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}Connection: close\r\n\r\n`;

void t.test('proxy_pass_trailers', async (t) => {
  const cases: Record<string, string[]> = {
    '/one': ['4\r\nbody\r\n0\r\nX-Sum: 12\r\nX-Hidden: no\r\nX-Empty:\r\n\r\n'],
    '/none': ['4\r\nbody\r\n0\r\n\r\n'],
    '/pieces': ['4\r\nbo', 'dy\r\n0', '\r\nX-S', 'um: 12\r', '\nX-Two: 2\r\n', '\r\n'],
    '/wrong': ['4\r\nbody\r\n0\r\nX Sum: 12\r\n\r\n'],
    '/large': [`4\r\nbody\r\n0\r\nX-Sum: ${'1'.repeat(5000)}\r\n\r\n`],
  };
  const port = await backend(t, (request, socket) => {
    const [, name = ''] = /^GET (\S+)/.exec(request) ?? [];
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n');
    const pieces = cases[name] ?? [];
    pieces.forEach((piece, i) => setTimeout(() => socket.write(piece), 10 * i));
    setTimeout(() => socket.end(), 10 * pieces.length + 100);
  });
  const server = await Server.start({
    http: `
      log_format t "$uri [$upstream_trailer_x_sum] [$sent_trailer_x_sum]"; access_log logs/t.log t;
      server { listen 127.0.0.1:$port; proxy_http_version 1.1; proxy_hide_header X-Hidden;
        location / { proxy_pass http://127.0.0.1:${port}; proxy_pass_trailers on; }
        location /unbuffered/ { proxy_pass http://127.0.0.1:${port}/; proxy_pass_trailers on; proxy_buffering off; }
        location /off/ { proxy_pass http://127.0.0.1:${port}/; }
      }`,
  });
  t.teardown(() => server.stop());
  const body = async (path: string): Promise<string> =>
    (await exchange(server.port, GET(path))).replace(/^.*?\r\n\r\n/s, '');
  for (const where of ['', '/unbuffered']) {
    t.equal(await body(`${where}/one`), '4\r\nbody\r\n0\r\nX-Sum: 12\r\nX-Empty: \r\n\r\n', where);
    t.equal(await body(`${where}/none`), '4\r\nbody\r\n0\r\n\r\n');
    t.match(await body(`${where}/pieces`), /\r\n0\r\nX-Sum: 12\r\nX-Two: 2\r\n\r\n$/);
  }
  t.equal(await body('/off/one'), '4\r\nbody\r\n0\r\n\r\n', 'not without it');
  t.notMatch(server.errorLog(), /\[(error|alert|crit)\]/);
  await body('/wrong');
  t.ok(await server.logged('upstream sent invalid trailer: "X\\x20...'));
  await body('/large');
  t.ok(await server.logged('upstream sent too big trailers'));
  const log = fs.readFileSync(`${server.prefix}/logs/t.log`, 'latin1');
  t.match(log, '/one [12] [12]');
  t.match(log, '/off/one [-] [-]');
  t.notMatch(server.errorLog(), /\[(alert|crit|emerg)\]/);
});

for (const kind of ['nginx', 'moonphase'] as const satisfies readonly Kind[]) {
  void t.test(
    `proxy_limit_rate, proxy_force_ranges, proxy_socket_keepalive by ${kind}`,
    async (t) => {
      const text = Array.from({ length: 20_000 }, (_, i) => String(i % 10)).join('');
      const port = await backend(t, (request, socket) => {
        const [, name = ''] = /^GET (\S+)/.exec(request) ?? [];
        const head = `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\nLast-Modified: Mon, 28 Sep 1970 06:00:00 GMT\r\nAccept-Ranges: none\r\n\r\n`;
        if (name === '/held') {
          socket.write(head);
          setTimeout(() => socket.end(text), 400);
        } else {
          socket.end(head + text);
        }
      });
      const server = await Server.start({
        kind,
        http: `
        server { listen 127.0.0.1:$port; access_log off;
          location / { proxy_pass http://127.0.0.1:${port}; }
          location /slow { proxy_pass http://127.0.0.1:${port}; proxy_limit_rate 8k; }
          location /ranges { proxy_pass http://127.0.0.1:${port}; proxy_force_ranges on; }
          location /held { proxy_pass http://127.0.0.1:${port}; proxy_socket_keepalive on; }
          location /unheld/ { proxy_pass http://127.0.0.1:${port}/; }
        }`,
      });
      t.teardown(() => server.stop());
      const started = Date.now();
      const slow = await exchange(server.port, GET('/slow'));
      const took = Date.now() - started;
      t.equal(slow.length - slow.indexOf('\r\n\r\n') - 4, text.length);
      t.ok(took > 900 && took < 6000, `20,000 bytes at 8,192 a second: ${took} ms`);

      const part = await exchange(server.port, GET('/ranges', 'Range: bytes=5-9\r\n'));
      t.match(part, /^HTTP\/1\.1 206 /);
      t.match(part, 'Content-Range: bytes 5-9/20000');
      t.notMatch(part, 'Accept-Ranges: none');
      t.ok(part.endsWith('\r\n\r\n56789'), part);
      const several = await exchange(server.port, GET('/ranges', 'Range: bytes=0-1,4-5\r\n'));
      t.match(several, /^HTTP\/1\.1 200 /, 'one range at most');
      const whole = await exchange(server.port, GET('/', 'Range: bytes=5-9\r\n'));
      t.match(whole, /^HTTP\/1\.1 200 /, 'not without it');
      t.match(whole, 'Accept-Ranges: none');

      // column "tr" of the table: 2 is the keepalive timer
      const timers = async (path: string): Promise<string[]> => {
        const answer = exchange(server.port, GET(path));
        await new Promise((done) => setTimeout(done, 200));
        const to = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
        const seen = fs
          .readFileSync('/proc/net/tcp', 'latin1')
          .split('\n')
          .map((line) => line.trim().split(/\s+/))
          .filter(([, , remote, state]) => remote === to && state === '01')
          .map(([, , , , , timer = '']) => timer.slice(0, 2));
        await answer;
        return seen;
      };
      t.same(await timers('/held'), ['02']);
      t.same(await timers('/unheld/held'), ['00']);
      t.notMatch(server.errorLog(), /\[(error|alert|crit|emerg)\]/);
    },
  );
}

void t.test('proxy_ssl_certificate with variables', async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mp-'));
  t.teardown(() => fs.rmSync(dir, { recursive: true }));
  for (const name of ['server', 'ann', 'bob']) {
    execFileSync(
      'openssl',
      [
        ...`req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=${name}`.split(
          ' ',
        ),
        ...`-keyout ${dir}/${name}.key -out ${dir}/${name}.crt`.split(' '),
      ],
      { stdio: 'ignore' },
    );
  }
  const port = await new Promise<number>((done) => {
    const server = https.createServer(
      {
        key: fs.readFileSync(`${dir}/server.key`),
        cert: fs.readFileSync(`${dir}/server.crt`),
        requestCert: true,
        rejectUnauthorized: false,
      },
      (req, res) => {
        const socket = req.socket as TLSSocket;
        const { subject } = socket.getPeerCertificate();
        res.end(`${subject?.CN ?? 'nobody'} ${socket.isSessionReused() ? 'again' : 'first'}`);
      },
    );
    t.teardown(() => server.close());
    server.listen(0, '127.0.0.1', () => done((server.address() as net.AddressInfo).port));
  });
  const server = await Server.start({
    files: {
      'conf/own.crt': fs.readFileSync(`${dir}/ann.crt`, 'latin1'),
      'conf/own.key': fs.readFileSync(`${dir}/ann.key`, 'latin1'),
    },
    http: `
      map $arg_who $pair { ann ${dir}/ann; bob ${dir}/bob; own own; }
      map $pair $crt { "" ""; default $pair.crt; }
      map $pair $key { "" ""; default $pair.key; }
      server { listen 127.0.0.1:$port;
        location / { proxy_pass https://127.0.0.1:${port}; proxy_ssl_certificate $crt; proxy_ssl_certificate_key $key; }
        location /fixed { proxy_pass https://127.0.0.1:${port}; proxy_ssl_certificate ${dir}/bob.crt; proxy_ssl_certificate_key ${dir}/bob.key; }
        location /missing { proxy_pass https://127.0.0.1:${port}; proxy_ssl_certificate ${dir}/$arg_who.crt; proxy_ssl_certificate_key $key; }
        location /none { proxy_pass https://127.0.0.1:${port}; proxy_ssl_certificate ""; }
      }`,
  });
  t.teardown(() => server.stop());
  const get = (path: string): Promise<string> =>
    new Promise((done, fail) => {
      http
        .get({ port: server.port, path, agent: false }, (res) => {
          let text = '';
          res.on('data', (data) => (text += String(data)));
          res.on('end', () => done(`${res.statusCode} ${text}`));
        })
        .on('error', fail);
    });
  // a session that was begun as somebody else is not taken up
  for (const who of ['ann', 'bob', 'ann', 'bob'])
    t.equal(await get(`/?who=${who}`), `200 ${who} first`);
  t.equal(await get('/?who=own'), '200 ann first', "a name below the configuration's directory");
  t.equal(await get('/'), '200 nobody first', 'an empty value is no certificate');
  t.equal(await get('/none'), '200 nobody first');
  t.match(await get('/fixed'), /^200 bob /);
  t.equal((await get('/missing?who=bobby')).slice(0, 3), '500');
  t.ok(await server.logged(/\[error\] .*cannot load certificate ".*\/bobby\.crt": BIO_new_file/));
  t.notMatch(server.errorLog(), /\[(alert|crit|emerg)\]/);
  await t.rejects(
    Server.start({
      http: `server { listen 127.0.0.1:$port; location / { proxy_pass https://127.0.0.1:1; proxy_ssl_certificate $arg_a; } }`,
    }),
    { message: /no "proxy_ssl_certificate_key" is defined for certificate/ },
  );
});
