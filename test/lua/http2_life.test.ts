// Clients of HTTP/2 that leave, flood or stall, at every step; sessions over TLS; reloads with open streams.
import http2 from 'node:http2';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import t from 'tap';
import {
  ACK,
  END_STREAM,
  GET,
  POST,
  PREFACE,
  RawPeer,
  TYPE,
  frame,
  headers,
  setting,
  u32,
  type Fields,
} from '../helpers/http2.js';
import { exchange } from '../helpers/http.js';
import { Server, sleep } from '../helpers/server.js';

const to = (where: string, method = 'GET'): Fields => [
  [':method', method],
  [':scheme', 'http'],
  [':path', where],
  [':authority', 'localhost'],
];

const conf = `
  lua_shared_dict seen 1m;
  server {
    listen 127.0.0.1:$port1;
    location / { content_by_lua_block { ngx.req.read_body() for i = 1, 50 do ngx.print(string.rep("p", 10000)) ngx.flush(true) ngx.sleep(0.002) end } }
  }
  server {
    listen 127.0.0.1:$port; http2 on; client_header_timeout 1s; send_timeout 1s; client_body_timeout 1s;
    log_by_lua_block { ngx.shared.seen:incr("n", 1, 0) }
    location / { return 200 "hello\\n"; }
    location /seen { content_by_lua_block { ngx.say(ngx.shared.seen:get("n")) } }
    location /sleep { content_by_lua_block { ngx.sleep(0.2) ngx.say("slept") } }
    location /large { content_by_lua_block {
      for i = 1, 100 do
        ngx.print(string.rep("x", 65536))
        if not ngx.flush(true) then return ngx.exit(ngx.ERROR) end
      end
    } }
    location /big { content_by_lua_block { ngx.print(string.rep("x", 5000000)) } }
    location /body { client_max_body_size 10m; content_by_lua_block { ngx.req.read_body() ngx.say("read") } }
    location /proxy { proxy_pass http://127.0.0.1:$port1; }
    location /stream { client_max_body_size 10m; proxy_http_version 1.1; proxy_request_buffering off; proxy_pass http://127.0.0.1:$port1; }
    location /capture { content_by_lua_block { ngx.location.capture_multi{ { "/sleep" }, { "/proxy" } } ngx.say("done") } }
    location /thread { content_by_lua_block { ngx.thread.spawn(function() ngx.sleep(0.1) ngx.say("a") end) ngx.sleep(0.05) ngx.say("b") } }
    location /gzip { gzip on; gzip_types *; proxy_pass http://127.0.0.1:$port1; }
    location /error { error_page 500 /sleep; content_by_lua_block { error("x") } }
  }`;

void t.test('clients that leave at every step', async (t) => {
  const server = await Server.start({ http: conf });
  t.teardown(() => server.stop());
  const places = [
    '/',
    '/sleep',
    '/large',
    '/big',
    '/proxy',
    '/capture',
    '/thread',
    '/gzip',
    '/error',
    '/body',
    '/stream',
  ];
  for (const where of places) {
    for (const wait of [0, 3, 30]) {
      for (const way of ['reset', 'fin', 'rst', 'half', 'goaway']) {
        const peer = await RawPeer.connect(server.port);
        const post = where === '/body' || where === '/stream';
        peer.send(headers(1, to(where, post ? 'POST' : 'GET'), post ? 0 : END_STREAM));
        if (post) peer.send(frame(TYPE.data, 0, 1, 'x'.repeat(1000)));
        if (wait) await sleep(wait);
        if (way === 'reset') peer.send(frame(TYPE.rst, 0, 1, u32(8)));
        if (way === 'fin') peer.socket.end();
        if (way === 'rst') peer.socket.resetAndDestroy();
        if (way === 'half') peer.send(Buffer.from([0, 0, 9, 1]));
        if (way === 'goaway') peer.send(frame(TYPE.goaway, 0, 0, Buffer.alloc(8)));
        if (wait === 30) await sleep(5);
        peer.destroy();
      }
    }
  }
  await sleep(700);
  const peer = await RawPeer.connect(server.port);
  peer.send(headers(1));
  t.equal(await peer.reaction(1), '200');
  peer.destroy();
  const told = await exchange(
    server.port,
    'GET /seen HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  );
  t.ok(Number(/(\d+)\n\r\n0/.exec(told)?.[1]) >= places.length * 12, 'the log phase has run');
  t.notMatch(server.errorLog(), /\[(alert|crit|emerg)\]/);
});

void t.test('clients that stall or flood', async (t) => {
  const server = await Server.start({ http: conf });
  t.teardown(() => server.stop());
  const react = async (ms: number, ...bytes: Buffer[]): Promise<RawPeer> => {
    const peer = await RawPeer.connect(server.port);
    peer.send(...bytes);
    await peer.until(() => (peer.closed ? true : undefined), ms);
    return peer;
  };
  const after = async (peer: RawPeer, name: string) => {
    t.ok(peer.closed, name);
    peer.destroy();
    const next = await RawPeer.connect(server.port);
    next.send(headers(1));
    t.equal(await next.reaction(1), '200', `${name}: others are served`);
    next.destroy();
  };

  // no window: the answer waits, and goes on
  const none = await RawPeer.connect(
    server.port,
    Buffer.concat([PREFACE, frame(TYPE.settings, 0, 0, setting(4, 0))]),
  );
  none.send(headers(1, to('/')));
  t.equal(await none.reaction(1), '200');
  await sleep(100);
  t.equal(none.body(1), '');
  none.send(frame(TYPE.window, 0, 1, u32(3)));
  await none.until(() => (none.body(1).length === 3 ? true : undefined));
  t.equal(none.body(1), 'hel');
  none.send(frame(TYPE.settings, 0, 0, setting(4, 100)));
  await none.until(() => none.frames.find((f) => f.type === TYPE.data && f.flags & END_STREAM));
  t.equal(none.body(1), 'hello\n');
  none.destroy();

  // the connection's window is shared
  const shared = await RawPeer.connect(
    server.port,
    Buffer.concat([PREFACE, frame(TYPE.settings, 0, 0, setting(4, 1 << 20))]),
  );
  shared.send(headers(1, to('/large')), headers(3, to('/large')));
  await sleep(300);
  t.equal(shared.body(1).length + shared.body(3).length, 65535);
  shared.send(frame(TYPE.window, 0, 0, u32(100_000)));
  await sleep(200);
  t.equal(shared.body(1).length + shared.body(3).length, 165_535);
  // send_timeout
  await shared.until(() => shared.find(TYPE.rst, 1) && shared.find(TYPE.rst, 3), 4000);
  t.ok(shared.find(TYPE.rst, 1) && shared.find(TYPE.rst, 3), 'send_timeout ends the streams');
  shared.destroy();

  // SETTINGS are acknowledged after the window of a body was raised: the two add up
  const raised = await RawPeer.connect(server.port);
  raised.send(headers(1, to('/body', 'POST'), 0));
  await raised.until(() => raised.find(TYPE.window, 1));
  const window = raised.find(TYPE.window, 1)?.payload.readUInt32BE(0) ?? 0;
  t.ok(window > 1_000_000 && window + 65_536 < 2 ** 31);
  raised.send(frame(TYPE.settings, ACK, 0), frame(TYPE.data, END_STREAM, 1, 'x'));
  t.equal(await raised.reaction(1), '200');
  raised.destroy();

  // a body that does not come
  const late = await RawPeer.connect(server.port);
  late.send(headers(1, to('/body', 'POST'), 0), frame(TYPE.data, 0, 1, 'x'));
  t.match(await late.reaction(1, 4000), /408|RST/);
  late.destroy();

  // a header that is never complete
  const half = await RawPeer.connect(server.port);
  half.send(frame(TYPE.headers, END_STREAM, 1, Buffer.from([0x82])));
  await half.until(() => half.find(TYPE.rst, 1) ?? half.find(TYPE.goaway), 4000);
  t.ok(half.find(TYPE.rst, 1) ?? half.find(TYPE.goaway), 'client_header_timeout');
  half.destroy();

  const empty = frame(TYPE.data, 0, 1, '');
  await after(
    await react(
      8000,
      headers(1, to('/body', 'POST'), 0),
      Buffer.concat(Array.from({ length: 1_200_000 }, () => empty)),
    ),
    'empty DATA',
  );
  await after(
    await react(
      3000,
      frame(TYPE.headers, END_STREAM, 1, Buffer.alloc(0)),
      Buffer.concat(Array.from({ length: 5000 }, () => frame(TYPE.continuation, 0, 1))),
    ),
    'CONTINUATION',
  );
  await after(
    await react(
      3000,
      Buffer.concat(
        Array.from({ length: 20_000 }, () =>
          frame(TYPE.priority, 0, 1, Buffer.from([0, 0, 0, 3, 9])),
        ),
      ),
    ),
    'PRIORITY',
  );
  const rapid: Buffer[] = [];
  for (let i = 0; i < 20_000; ++i)
    rapid.push(headers(2 * i + 1, to('/sleep')), frame(TYPE.rst, 0, 2 * i + 1, u32(8)));
  await after(await react(8000, Buffer.concat(rapid)), 'rapid reset');
  // PINGs are answered; a client that does not read the answers is not read from
  const ping = await RawPeer.connect(server.port);
  ping.socket.pause();
  for (let i = 0; i < 50; ++i)
    ping.send(
      Buffer.concat(Array.from({ length: 5000 }, () => frame(TYPE.ping, 0, 0, 'abcdefgh'))),
    );
  await sleep(500);
  ping.destroy();
  const many = await RawPeer.connect(server.port);
  many.send(...Array.from({ length: 300 }, (_, i) => headers(2 * i + 1, to('/sleep'))));
  await many.until(() => many.find(TYPE.goaway) ?? many.find(TYPE.rst), 3000);
  t.ok(many.find(TYPE.goaway) ?? many.find(TYPE.rst), 'more streams than allowed');
  many.destroy();
  const pinged = await RawPeer.connect(server.port);
  pinged.send(frame(TYPE.ping, 0, 0, '12345678'));
  await pinged.until(() => pinged.find(TYPE.ping));
  t.equal(pinged.find(TYPE.ping)?.flags, ACK);
  t.equal(pinged.find(TYPE.ping)?.payload.toString(), '12345678');
  pinged.destroy();
  t.notMatch(server.errorLog(), /\[(alert|crit|emerg)\]/);
});

const cpuMs = (pid: number): number => {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
};

void t.test('clients that are stuck or leave stuck streams cost no time', async (t) => {
  const http = `server {
    listen 127.0.0.1:$port; http2 on;
    location / { return 200 "hello\n"; }
    location /sleep { content_by_lua_block { ngx.sleep(2) ngx.say("slept") } }
    location /flush { content_by_lua_block { for i = 1, 100 do ngx.print(string.rep("x", 65536))
      local ok, err = ngx.flush(true) if not ok then ngx.log(ngx.WARN, "flush: ", err) return end end } }
    location /print { content_by_lua_block { ngx.print(string.rep("x", 5000000)) } }
    location /rate { limit_rate 10k; content_by_lua_block { ngx.print(string.rep("x", 5000000)) } }
    location /body { content_by_lua_block { ngx.req.read_body() } }
  }`;
  const places = ['/', '/sleep', '/flush', '/print', '/rate', '/body'];
  const open = Buffer.concat([
    PREFACE,
    frame(TYPE.settings, 0, 0, setting(4, 0x7fffffff)),
    frame(TYPE.window, 0, 0, u32(0x7fff0000 - 65535)),
  ]);
  for (const way of ['no window', 'not reading', 'end', 'stuck end', 'goaway']) {
    const server = await Server.start({ http });
    t.teardown(() => server.stop());
    const stuck = way === 'not reading' || way === 'stuck end';
    const peers = await Promise.all(
      places.map(async (where) => {
        const peer = await RawPeer.connect(server.port, stuck ? open : undefined);
        if (stuck) peer.socket.pause();
        const post = where === '/body';
        peer.send(headers(1, to(where, post ? 'POST' : 'GET'), post ? 0 : END_STREAM));
        return peer;
      }),
    );
    await sleep(300);
    for (const peer of peers) {
      if (way.endsWith('end')) peer.socket.end();
      if (way === 'goaway') peer.send(frame(TYPE.goaway, 0, 0, Buffer.alloc(8)));
    }
    await sleep(200);
    const before = cpuMs(server.pid);
    await sleep(700);
    t.ok(cpuMs(server.pid) - before < 200, `${way}: idle`);
    server.signal('SIGQUIT');
    await sleep(200);
    const quitting = cpuMs(server.pid);
    await sleep(500);
    t.ok(cpuMs(server.pid) - quitting < 200, `${way}: idle when it quits`);
    for (const peer of peers) peer.destroy();
    const code = await Promise.race([server.wait(), sleep(4000).then(() => 'still there')]);
    t.equal(code, 0, `${way}: ends with the last stream`);
    if (way === 'end') t.match(server.errorLog(), 'flush: client aborted');
    t.notMatch(server.errorLog(), /\[(alert|crit|emerg)\]/);
  }
});

void t.test('over TLS: ALPN, names, verification', async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mp-'));
  t.teardown(() => fs.rmSync(dir, { recursive: true }));
  execFileSync(
    'openssl',
    `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -keyout ${dir}/key.pem -out ${dir}/cert.pem`.split(
      ' ',
    ),
    { stdio: 'ignore' },
  );
  const http = `
    ssl_certificate ${dir}/cert.pem; ssl_certificate_key ${dir}/key.pem;
    server { listen 127.0.0.1:$port ssl; http2 on; server_name a;
      location / { content_by_lua_block { ngx.say(ngx.var.http2, " ", ngx.var.ssl_alpn_protocol, " ", ngx.var.scheme, " ", ngx.var.ssl_protocol) } }
      location /large { content_by_lua_block { for i = 1, 50 do ngx.print(string.rep("x", 65536)) ngx.flush(true) end } } }
    server { listen 127.0.0.1:$port ssl; server_name b; location / { return 200 "b"; } }`;
  const server = await Server.start({ http });
  t.teardown(() => server.stop());
  const ask = (session: http2.ClientHttp2Session, head: http2.OutgoingHttpHeaders) =>
    new Promise<string>((done, fail) => {
      const stream = session.request(head);
      let text = '';
      stream.on('response', (h) => (text = `${h[':status']} `));
      stream.on('data', (data: Buffer) => (text += data.toString('latin1')));
      stream.on('end', () => done(text));
      stream.on('error', fail);
    });
  const session = http2.connect(`https://127.0.0.1:${server.port}`, {
    rejectUnauthorized: false,
    servername: 'a',
  });
  session.on('error', () => undefined);
  t.equal(await ask(session, { ':path': '/', ':authority': 'a' }), '200 h2 h2 https TLSv1.3\n');
  t.equal((await ask(session, { ':path': '/large', ':authority': 'a' })).length, 4 + 50 * 65536);
  t.match(await ask(session, { ':path': '/', ':authority': 'b' }), /^421 /);
  session.destroy();
  const connect = (alpn: string, name: string) => {
    const out = execFileSync('sh', [
      '-c',
      `printf 'GET / HTTP/1.1\\r\\nHost: ${name}\\r\\nConnection: close\\r\\n\\r\\n' | timeout 5 openssl s_client -connect 127.0.0.1:${server.port} -servername ${name} -alpn ${alpn} -quiet -ign_eof 2>&1 || true`,
    ]);
    return out.toString('latin1');
  };
  t.match(connect('http/1.1', 'a'), /HTTP\/1\.1 200/);
  t.match(
    connect('h2,http/1.1', 'b'),
    /HTTP\/1\.1 200/,
    'a server without http2 does not agree on it',
  );
});

void t.test('a reload with open streams, and a worker that is killed', async (t) => {
  const server = await Server.start({
    http: conf,
    workers: 1,
    main: 'worker_shutdown_timeout 5s;',
  });
  t.teardown(() => server.stop());
  const peer = await RawPeer.connect(server.port);
  peer.send(headers(1, to('/sleep')));
  await sleep(60);
  server.signal('SIGHUP');
  t.equal(await peer.reaction(1), '200');
  await peer.until(() => peer.find(TYPE.goaway));
  t.equal(peer.find(TYPE.goaway)?.payload.readUInt32BE(4), 0, 'GOAWAY without an error');
  await peer.until(() => (peer.closed ? true : undefined));
  t.ok(peer.closed);
  const next = await RawPeer.connect(server.port);
  next.send(headers(1, GET));
  t.equal(await next.reaction(1), '200');
  next.send(headers(3, POST, 0));
  next.destroy();
  t.notMatch(server.errorLog(), /\[(alert|crit|emerg)\]/);
});
