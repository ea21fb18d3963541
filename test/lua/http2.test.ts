// HTTP/2 with a peer that keeps to the rules: node's.
import fs from 'node:fs';
import http2 from 'node:http2';
import path from 'node:path';
import t from 'tap';
import { Server, sleep } from '../helpers/server.js';
import { exchange } from '../helpers/http.js';

interface Reply {
  readonly status: number;
  readonly headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader;
  readonly body: string;
  readonly trailers: http2.IncomingHttpHeaders;
}

function connect(port: number): http2.ClientHttp2Session {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', () => undefined);
  return session;
}

function ask(
  session: http2.ClientHttp2Session,
  head: http2.OutgoingHttpHeaders,
  body?: string | Buffer,
): Promise<Reply> {
  return new Promise((done, fail) => {
    const stream = session.request(head, { endStream: body === undefined });
    const parts: Buffer[] = [];
    let headers: Reply['headers'] = {};
    let trailers: http2.IncomingHttpHeaders = {};
    stream.setTimeout(10_000, () => stream.close(http2.constants.NGHTTP2_CANCEL));
    stream.on('response', (h) => (headers = h));
    stream.on('trailers', (h) => (trailers = h));
    stream.on('data', (data: Buffer) => parts.push(data));
    stream.on('error', fail);
    stream.on('close', () => {
      if (stream.rstCode) fail(new Error(`reset with ${stream.rstCode}`));
      const text = Buffer.concat(parts).toString('latin1');
      done({ status: Number(headers[':status']), headers, body: text, trailers });
    });
    if (body !== undefined) stream.end(body);
  });
}

const conf = `
  lua_shared_dict seen 1m;
  log_format h2 '$status $request $http2 $body_bytes_sent $request_length $bytes_sent';
  access_log logs/access.log h2;
  upstream back { server 127.0.0.1:$port1; keepalive 4; }
  server {
    listen 127.0.0.1:$port1;
    location / { content_by_lua_block {
      ngx.req.read_body()
      ngx.header["X-Version"] = ngx.req.http_version()
      ngx.header["X-Length"] = ngx.var.http_content_length or ngx.var.http_transfer_encoding
      ngx.say(ngx.req.get_method(), " ", ngx.var.http_host, " ", #(ngx.req.get_body_data() or ""))
    } }
    location /slow { content_by_lua_block {
      for i = 1, 5 do ngx.say(i) ngx.flush(true) ngx.sleep(0.05) end
    } }
    location /big { content_by_lua_block {
      local s = string.rep("x", 65536) for i = 1, 160 do ngx.print(s) end
    } }
  }
  server {
    listen 127.0.0.1:$port;
    http2 on;
    root html;
    location / { content_by_lua_block {
      ngx.say(ngx.req.http_version(), " ", ngx.var.server_protocol, " ", ngx.var.http2, " ",
        ngx.var.scheme, " ", ngx.var.request, " ", ngx.var.host, " ", ngx.var.http_host)
    } }
    location /headers { content_by_lua_block {
      local h = ngx.req.get_headers()
      ngx.header["X-Foo"] = { "a", "b" }
      ngx.header["Content-Type"] = "text/x"
      ngx.say(h.cookie, " ", h["X-One"], " ", ngx.var.cookie_b, " ", h.host)
    } }
    location /phases {
      set_by_lua_block $s { return "set" }
      rewrite_by_lua_block { ngx.ctx.a = "rewrite" }
      access_by_lua_block { ngx.sleep(0.001) ngx.ctx.b = "access" }
      content_by_lua_block { ngx.say(ngx.var.s, " ", ngx.ctx.a, " ", ngx.ctx.b) }
      header_filter_by_lua_block { ngx.header["X-Filter"] = "yes" ngx.header.content_length = nil }
      body_filter_by_lua_block { ngx.arg[1] = string.upper(ngx.arg[1]) }
      log_by_lua_block { ngx.shared.seen:incr("log", 1, 0) }
    }
    location /body { client_max_body_size 100m; client_body_buffer_size 16k; content_by_lua_block {
      ngx.req.read_body()
      local data = ngx.req.get_body_data()
      local file = ngx.req.get_body_file()
      if file then local f = io.open(file) data = f:read("*a") f:close() end
      ngx.say(data and #data, " ", file and "file" or "memory", " ", ngx.md5(data or ""))
    } }
    location /proxy/ { proxy_pass http://back/; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; client_max_body_size 100m; }
    location /stream/ { proxy_pass http://back/; proxy_http_version 1.1; proxy_request_buffering off; proxy_buffering off; client_max_body_size 100m; }
    location /capture { content_by_lua_block {
      local a, b = ngx.location.capture_multi{ { "/sub?1" }, { "/sub?2" } }
      ngx.say(a.status, a.body, b.status, b.body)
    } }
    location /sub { content_by_lua_block { ngx.sleep(0.002) ngx.print(ngx.var.args) } }
    location /exec { content_by_lua_block { ngx.exec("/phases") } }
    location /redirect { content_by_lua_block { ngx.redirect("/there") } }
    location /moved { return 301 /else; }
    location /error { error_page 500 =503 /page; content_by_lua_block { error("no") } }
    location /page { content_by_lua_block { ngx.say("the page") } }
    location /socket { content_by_lua_block { ngx.say(pcall(ngx.req.socket)) ngx.say(pcall(ngx.req.raw_header)) } }
    location /empty { content_by_lua_block { ngx.exit(200) } }
    location /none { return 204; }
    location /gzip { gzip on; gzip_types *; gzip_min_length 1; content_by_lua_block { ngx.say(string.rep("abc", 1000)) } }
    location /trailers { add_trailer X-Sum $request_length; content_by_lua_block { ngx.say("hi") } }
    location /chunks { content_by_lua_block { for i = 1, 3 do ngx.say(i) ngx.flush(true) ngx.sleep(0.01) end } }
    location /large { content_by_lua_block {
      local s = string.rep("x", 65536)
      for i = 1, 160 do ngx.print(s) ngx.flush(true) end
    } }
    location /seen { content_by_lua_block { ngx.say(ngx.shared.seen:get("log"), " ", ngx.shared.seen:get("abort")) } }
    location /abort { lua_check_client_abort on; content_by_lua_block {
      ngx.on_abort(function() ngx.shared.seen:incr("abort", 1, 0) ngx.exit(499) end)
      ngx.sleep(5)
    } }
    location /wait { content_by_lua_block { ngx.sleep(0.3) ngx.say("waited") } }
    location /limited { limit_rate 20k; root html; try_files /big.txt =404; }
    location = /big.txt { }
  }`;

void t.test('HTTP/2', async (t) => {
  const server = await Server.start({
    http: conf,
    files: { 'html/big.txt': 'y'.repeat(3_000_000) },
  });
  const session = connect(server.port);
  t.teardown(async () => {
    session.destroy();
    await server.stop();
  });
  const get = (where: string, head: http2.OutgoingHttpHeaders = {}) =>
    ask(session, { ':path': where, ':authority': 'example.com:80', ...head });

  const first = await get('/');
  t.equal(first.status, 200);
  t.equal(first.body, '2 HTTP/2.0 h2c http GET / HTTP/2.0 example.com example.com:80\n');
  t.match(first.headers['server'], /^nginx\//);
  t.ok(first.headers['date']);
  t.notOk(first.headers['connection']);
  t.notOk(first.headers['transfer-encoding']);

  const head = await get('/headers', { cookie: ['a=1', 'b=2'], 'x-one': 'uno' });
  t.equal(head.body, 'a=1; b=2 uno 2 example.com:80\n');
  t.equal(head.headers['content-type'], 'text/x');
  t.equal(head.headers['x-foo'], 'a, b');

  const phases = await get('/phases');
  t.equal(phases.body, 'SET REWRITE ACCESS\n');
  t.equal(phases.headers['x-filter'], 'yes');
  t.equal((await get('/exec')).body, 'SET REWRITE ACCESS\n');
  t.equal((await get('/seen')).body, '2 nil\n');
  t.equal((await get('/capture')).body, '20012002\n');

  const redirect = await get('/redirect');
  t.equal(redirect.status, 302);
  t.equal(redirect.headers['location'], '/there');
  t.equal((await get('/moved')).headers['location'], `http://example.com:${server.port}/else`);
  const error = await get('/error');
  t.equal(error.status, 503);
  t.equal(error.body, 'the page\n');
  t.equal((await get('/missing/', { ':method': 'GET' })).status, 200);
  t.match(
    (await get('/socket')).body,
    /false.*http v2 not supported yet\n.*false.*http2 requests not supported yet\n/,
  );

  const empty = await get('/empty');
  t.equal(empty.status, 200);
  t.equal(empty.body, '');
  t.equal((await get('/none')).status, 204);
  const only = await get('/big.txt', { ':method': 'HEAD' });
  t.equal(only.headers['content-length'], '3000000');
  t.equal(only.body, '');
  const gzip = await get('/gzip', { 'accept-encoding': 'gzip' });
  t.equal(gzip.headers['content-encoding'], 'gzip');
  const sum = await get('/trailers');
  t.equal(sum.body, 'hi\n');
  t.match(sum.trailers['x-sum'], /^\d+$/);
  t.equal((await get('/chunks')).body, '1\n2\n3\n');

  const file = await get('/big.txt');
  t.equal(file.body.length, 3_000_000);
  const part = await get('/big.txt', { range: 'bytes=5-9' });
  t.equal(part.status, 206);
  t.equal(part.body, 'yyyyy');
  t.equal((await get('/large')).body.length, 160 * 65536);

  for (const size of [0, 1, 100, 16_000, 16_385, 100_000, 3_000_000]) {
    const data = Buffer.alloc(size, 'z');
    for (const declared of [{}, { 'content-length': size }]) {
      const reply = await ask(session, { ':path': '/body', ':method': 'POST', ...declared }, data);
      t.match(
        reply.body,
        new RegExp(`^${size || '(nil|0)'} ${size > 16384 ? 'file' : 'memory'} `),
        `a body of ${size}`,
      );
    }
  }
  for (const where of ['/proxy/', '/stream/']) {
    const reply = await ask(
      session,
      { ':path': where, ':method': 'PUT', ':authority': 'h' },
      Buffer.alloc(500_000, 'q'),
    );
    t.match(reply.body, /^PUT \S+ 500000|^PUT \S+ 0/, where);
    t.equal((await get(`${where}slow`)).body, '1\n2\n3\n4\n5\n');
    t.equal((await get(`${where}big`)).body.length, 160 * 65536);
  }

  // many at once, answers in any order
  const all = await Promise.all(
    Array.from({ length: 60 }, (_, i) => get(i % 6 ? '/capture' : '/large')),
  );
  t.ok(all.every((r, i) => r.status === 200 && r.body.length === (i % 6 ? 9 : 160 * 65536)));

  const limited = Date.now();
  const slow = session.request({ ':path': '/limited' });
  slow.resume();
  await sleep(600);
  slow.close(http2.constants.NGHTTP2_CANCEL);
  t.ok(Date.now() - limited < 2000);

  // a client that gives up
  const abort = session.request({ ':path': '/abort' });
  abort.on('error', () => undefined);
  await sleep(100);
  abort.close(http2.constants.NGHTTP2_CANCEL);
  await sleep(100);
  t.match((await get('/seen')).body, /^\d+ 1\n$/);
  t.ok(await server.logged('client canceled stream'));

  // HTTP/1.1 goes on beside it
  t.match(
    await exchange(server.port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'),
    /1\.1 HTTP\/1\.1  http GET \/ HTTP\/1\.1 a a\n/,
  );
  t.match(
    await exchange(server.port, 'PRI * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'),
    /^HTTP\/1\.1 400/,
  );
  t.notMatch(server.errorLog(), /\[(alert|crit|emerg)\]/);
  const log = fs.readFileSync(path.join(server.prefix, 'logs/access.log'), 'latin1');
  t.match(log, /^499 GET \/abort HTTP\/2\.0 h2c 0 /m);
  t.match(log, /^200 GET \/ HTTP\/2\.0 h2c 62 \d+ \d+$/m);
});

void t.test('the session lives as nginx’s do', async (t) => {
  const server = await Server.start({
    http: `
    server { listen 127.0.0.1:$port; http2 on; keepalive_requests 3; location / { return 200 "$connection_requests\\n"; }
      location /wait { content_by_lua_block { ngx.sleep(0.3) ngx.say("waited") } } }
    server { listen 127.0.0.1:$port1; http2 on; keepalive_timeout 1s; location / { return 200 "x"; } }
    server { listen 127.0.0.1:$port2; http2 on; http2_max_concurrent_streams 2; location / { content_by_lua_block { ngx.sleep(0.05) ngx.say(1) } } }
    server { listen 127.0.0.1:$port3; http2 on; server_name a; location / { return 200 "a"; } }
    server { listen 127.0.0.1:$port3; server_name b; location / { return 200 "b"; } }`,
  });
  t.teardown(() => server.stop());

  const three = connect(server.port);
  const goaway = new Promise<number>((done) => three.once('goaway', (code) => done(code)));
  t.equal((await ask(three, { ':path': '/' })).body, '1\n');
  t.equal((await ask(three, { ':path': '/' })).body, '2\n');
  t.equal((await ask(three, { ':path': '/' })).body, '3\n');
  t.equal(await goaway, 0);
  three.destroy();

  const idle = connect(server.ports[1] as number);
  t.equal((await ask(idle, { ':path': '/' })).body, 'x');
  const began = Date.now();
  await new Promise<void>((done) => idle.once('close', () => done()));
  t.ok(Date.now() - began > 700 && Date.now() - began < 3000, 'the idle session ends');

  const two = connect(server.ports[2] as number);
  await new Promise<void>((done) => two.once('remoteSettings', () => done()));
  const replies = await Promise.all([1, 2, 3, 4, 5].map(() => ask(two, { ':path': '/' })));
  t.ok(replies.every((r) => r.body === '1\n'));
  t.equal(two.remoteSettings.maxConcurrentStreams, 2);
  two.destroy();

  const named = connect(server.ports[3] as number);
  t.equal((await ask(named, { ':path': '/', ':authority': 'a' })).body, 'a');
  t.equal((await ask(named, { ':path': '/', ':authority': 'b' })).status, 421);
  named.destroy();

  // QUIT: what runs ends, and then the process
  const last = connect(server.port);
  const waiting = ask(last, { ':path': '/wait' });
  await sleep(100);
  const stopped = server.stop();
  t.equal((await waiting).body, 'waited\n');
  t.equal(await stopped, 0);
  last.destroy();
  t.notMatch(server.errorLog(), /\[(alert|crit|emerg)\]/);
});
