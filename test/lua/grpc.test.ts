// grpc_pass between a gRPC client and a gRPC server.
import fs from 'node:fs';
import http2 from 'node:http2';
import type net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import * as grpc from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { certificates } from '../helpers/certificates.js';
import { type Backend, Client, collect, startBackend } from '../helpers/grpc.js';
import { request } from '../helpers/http.js';
import { type Kind, Server, freePorts, sleep } from '../helpers/server.js';

const one = await startBackend('one');
const two = await startBackend('two');
t.teardown(() => {
  one.stop();
  two.stop();
});

async function serve(
  t: Test,
  http: string,
  options: { kind?: Kind; workers?: number; errorLogLevel?: string } = {},
): Promise<{ server: Server; client: Client }> {
  const server = await Server.start({ http, ...options });
  t.teardown(() => server.stop());
  const client = new Client(server.port);
  t.teardown(() => client.close());
  return { server, client };
}

const listen = 'listen 127.0.0.1:$port http2; client_max_body_size 0;';
const plain = `server { ${listen} location / { grpc_pass grpc://127.0.0.1:${one.port}; } }`;

const nginx = !fs.existsSync('/usr/sbin/nginx') && 'nginx is not installed';
for (const kind of ['moonphase', 'nginx'] as const) {
  void t.test(`calls of all kinds (${kind})`, { skip: kind === 'nginx' && nginx }, async (t) => {
    const { server, client } = await serve(t, plain, { kind });
    const answer = await client.unary('hello', { 'x-a': '1' });
    t.equal(answer.code, 0);
    t.equal(answer.message, 'one:hello');
    t.strictSame(answer.head.get('x-head'), ['one']);
    t.strictSame(answer.head.get('echo-x-a'), ['1']);
    t.strictSame(answer.trailer.get('x-trailer'), ['after one']);

    const failed = await client.unary('fail');
    t.equal(failed.code, grpc.status.FAILED_PRECONDITION);
    t.equal(failed.details, 'no, thanks');
    t.strictSame(failed.trailer.get('x-why'), ['because']);

    t.equal((await client.unary('x', {}, {}, '/test.Echo/None')).code, grpc.status.UNIMPLEMENTED);
    t.equal((await client.upload(['a', 'bb', 'ccc'])).message, '3 6');
    const down = await collect(client.download('5 3'));
    t.strictSame(down, { messages: ['1..', '2..', '3..', '4..', '5..'], code: 0 });

    // each message is answered before the next one is sent
    const chat = client.chat();
    const all = collect(chat);
    for (const message of ['a', 'b', 'c']) {
      chat.write(message);
      t.equal(await new Promise((done) => chat.once('data', done)), `one:${message}`);
    }
    chat.end();
    t.strictSame(await all, { messages: ['one:a', 'one:b', 'one:c'], code: 0 });

    const late = await client.unary('sleep', {}, { deadline: Date.now() + 200 });
    t.equal(late.code, grpc.status.DEADLINE_EXCEEDED);
    // nothing of that is worth a line for the log
    await sleep(100);
    t.notMatch(server.errorLog(), /\[(error|crit|alert|emerg)\]/);
  });
}

void t.test('much in both directions, through windows that are small', async (t) => {
  const { client } = await serve(t, plain);
  const message = 'x'.repeat(1 << 20);
  const answer = await client.unary(message);
  t.equal(answer.message?.length, message.length + 4);
  t.equal((await client.upload(Array.from({ length: 20 }, () => message))).message, '20 20971520');
  const down = await collect(client.download('20 1048576'));
  t.equal(down.messages.length, 20);
  t.ok(down.messages.every((m) => m.length === 1 << 20));
});

void t.test('a client that does not read holds the server back', async (t) => {
  const { client } = await serve(t, plain);
  const call = client.download('400 65536');
  call.on('error', () => undefined);
  call.pause();
  await sleep(500);
  let seen = 0;
  await new Promise<void>((done) => {
    call.on('data', () => ++seen);
    call.on('end', done);
    call.resume();
  });
  t.equal(seen, 400);
});

void t.test('connections are kept', async (t) => {
  const back = await startBackend('kept');
  t.teardown(() => {
    back.stop();
  });
  const { client } = await serve(
    t,
    `upstream back { server 127.0.0.1:${back.port}; keepalive 2; }
     server { ${listen} location / { grpc_pass grpc://back; } }`,
  );
  for (let i = 0; i < 20; i++) t.equal((await client.unary(`n${i}`)).message, `kept:n${i}`);
  t.equal((await client.upload(['a', 'b'])).message, '2 2');
  t.equal((await collect(client.download('3 1'))).messages.length, 3);
  t.equal((await client.unary('fail')).code, grpc.status.FAILED_PRECONDITION);
  t.equal((await client.unary('again')).message, 'kept:again');
  t.equal(back.connections(), 1);
});

void t.test('next_upstream', async (t) => {
  const [dead = 0] = await freePorts(1);
  const { client, server } = await serve(
    t,
    `log_format up '$status $upstream_addr $upstream_status $upstream_bytes_sent $upstream_http_content_type $upstream_trailer_grpc_status';
     access_log logs/up.log up;
     upstream back { server 127.0.0.1:${dead} max_fails=0; server 127.0.0.1:${one.port} backup; }
     upstream none { server 127.0.0.1:${dead} max_fails=0; }
     server { ${listen}
       location / { grpc_pass grpc://back; }
       location /test.Echo/Download { grpc_pass grpc://none; } }`,
  );
  t.equal((await client.unary('hello')).message, 'one:hello');
  t.equal((await client.upload(['a'])).message, '1 1');
  t.equal((await collect(client.download('1 1'))).code, grpc.status.UNAVAILABLE);
  t.ok(
    await server.logged(
      new RegExp(
        `connect\\(\\) failed \\(111: Connection refused\\) while connecting to upstream, client: 127.0.0.1, server: , ` +
          `request: "POST /test.Echo/Unary HTTP/2.0", upstream: "grpc://127.0.0.1:${dead}/test.Echo/Unary", host: `,
      ),
    ),
  );
  await sleep(50);
  const lines = fs.readFileSync(path.join(server.prefix, 'logs/up.log'), 'latin1').split('\n');
  const up = `127.0.0.1:${dead}, 127.0.0.1:${one.port}`;
  t.match(lines[0], new RegExp(`^200 ${up} 502, 200 0, [1-9]\\d+ application/grpc\\+?\\w* 0$`));
  t.match(lines[2], new RegExp(`^502 127.0.0.1:${dead} 502 0 - -$`));
});

void t.test('where to: names, variables, sockets', async (t) => {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'mp-')), 'grpc.sock');
  const local = await startBackend('local', { path: `unix:${file}` });
  t.teardown(() => {
    local.stop();
    fs.rmSync(path.dirname(file), { recursive: true, force: true });
  });
  const { client, server } = await serve(
    t,
    `upstream group { server 127.0.0.1:${two.port}; }
     server { ${listen}
       set $to ""; 
       location / { grpc_pass $http_x_to; }
       location /test.Echo/Upload { grpc_pass unix:${file}; }
       location /test.Echo/Download { grpc_pass localhost:${one.port}; } }`,
  );
  const to = async (target: string) => (await client.unary('m', { 'x-to': target })).message;
  t.equal(await to(`grpc://127.0.0.1:${one.port}`), 'one:m');
  t.equal(await to(`127.0.0.1:${two.port}`), 'two:m');
  t.equal(await to('grpc://group'), 'two:m');
  t.equal(await to(`unix:${file}`), 'local:m');
  t.equal((await client.unary('m', { 'x-to': 'grpc://nowhere' })).code, grpc.status.UNKNOWN);
  t.ok((await server.logged('[error]')) && /no port in upstream "nowhere"/.test(server.errorLog()));
  t.equal((await client.unary('m', { 'x-to': 'grpc://a:1/x' })).code, grpc.status.UNKNOWN);
  t.ok(await server.logged('invalid host in upstream "a:1/x"'));
  t.equal((await client.upload(['a'])).message, '1 1');
  t.equal((await collect(client.download('1 1'))).messages[0], '1');
});

void t.test('grpcs: names are verified, sessions are used again', async (t) => {
  const dir = certificates(t, 'back.test', 'client.test');
  const file = (name: string) => fs.readFileSync(`${dir}/${name}`);
  const back = await startBackend('secure', {
    credentials: grpc.ServerCredentials.createSsl(
      file('ca.crt'),
      [{ private_key: file('back.test.key'), cert_chain: file('back.test.crt') }],
      true,
    ),
  });
  t.teardown(() => {
    back.stop();
  });
  const { client, server } = await serve(
    t,
    `grpc_ssl_trusted_certificate ${dir}/ca.crt; grpc_ssl_verify on; grpc_ssl_name back.test;
     grpc_ssl_certificate ${dir}/client.test.crt; grpc_ssl_certificate_key ${dir}/client.test.key;
     grpc_ssl_protocols TLSv1.2 TLSv1.3; grpc_ssl_server_name on;
     upstream back { server 127.0.0.1:${back.port}; keepalive 1; }
     server { ${listen}
       location / { grpc_pass grpcs://back; }
       location /test.Echo/Upload { grpc_ssl_name other.test; grpc_pass grpcs://127.0.0.1:${back.port}; }
       location /test.Echo/Download { set $s grpcs; grpc_pass $s://127.0.0.1:${back.port}; } }`,
  );
  for (let i = 0; i < 3; i++) t.equal((await client.unary('s')).message, 'secure:s');
  t.equal((await client.upload(['a'])).code, grpc.status.UNAVAILABLE);
  t.ok(
    await server.logged(
      'upstream SSL certificate does not match "other.test" while SSL handshaking to upstream',
    ),
  );
  t.equal((await collect(client.download('2 1'))).messages.length, 2);
});

void t.test('Lua around it and under it', async (t) => {
  const { client, server } = await serve(
    t,
    `lua_shared_dict seen 1m;
     upstream back { server 0.0.0.1; balancer_by_lua_block {
         local b = require "ngx.balancer"
         local h = ngx.req.get_headers()["x-to"]
         assert(b.set_current_peer("127.0.0.1", h == "two" and ${two.port} or ${one.port}))
         ngx.ctx.state = b.get_last_failure()
       } keepalive 4; }
     server { ${listen}
       location /log { content_by_lua_block { ngx.print(ngx.shared.seen:get("log") or "") } }
       location / {
         access_by_lua_block {
           local h = ngx.req.get_headers()
           if h["x-key"] ~= "secret" then
             ngx.header["grpc-status"] = "16"
             ngx.header["grpc-message"] = "who are you"
             ngx.header["content-type"] = "application/grpc"
             ngx.header["content-length"] = 0
             return ngx.exit(200)
           end
           ngx.sleep(0.001)
           ngx.req.set_header("x-added", "by lua")
           ngx.req.clear_header("x-key")
         }
         grpc_pass grpc://back;
         grpc_set_header x-conf "of conf $request_method";
         header_filter_by_lua_block { ngx.header["x-filter"] = (ngx.var.upstream_status or "-") .. " " .. ngx.status }
         body_filter_by_lua_block { ngx.ctx.bytes = (ngx.ctx.bytes or 0) + #ngx.arg[1] }
         log_by_lua_block {
           ngx.shared.seen:set("log", table.concat({ ngx.status, ngx.var.upstream_addr, ngx.var.upstream_status,
             ngx.ctx.bytes, ngx.var.upstream_response_length }, " "))
         }
       } }`,
  );
  const refused = await client.unary('hello');
  t.equal(refused.code, grpc.status.UNAUTHENTICATED);
  t.equal(refused.details, 'who are you');
  const answer = await client.unary('hello', { 'x-key': 'secret', 'x-to': 'two' });
  t.equal(answer.message, 'two:hello');
  t.strictSame(answer.head.get('echo-x-added'), ['by lua']);
  t.strictSame(answer.head.get('echo-x-conf'), ['of conf POST']);
  t.strictSame(answer.head.get('echo-x-key'), []);
  t.strictSame(answer.head.get('x-filter'), ['200 200']);
  t.equal((await client.unary('hi', { 'x-key': 'secret' })).message, 'one:hi');
  const log = http2.connect(`http://127.0.0.1:${server.port}`);
  const stream = log.request({ ':path': '/log' });
  let text = '';
  for await (const part of stream) text += String(part);
  log.close();
  // `one:hi` and the five bytes before each message; nginx counts frames and trailers, too
  t.match(text, new RegExp(`^200 127.0.0.1:${one.port} 200 11 [1-9]\\d$`));
  t.notMatch(server.errorLog(), /\[error\]/);
});

void t.test('body is read before: access_by_lua with ngx.req.read_body', async (t) => {
  const { client } = await serve(
    t,
    `client_body_buffer_size 1k;
     server { ${listen} location / {
       access_by_lua_block { ngx.req.read_body() }
       grpc_pass grpc://127.0.0.1:${one.port}; } }`,
  );
  t.equal((await client.unary('hello')).message, 'one:hello');
  // in a file
  t.equal((await client.unary('y'.repeat(300_000))).message?.length, 300_004);
  t.equal(
    (await client.upload(Array.from({ length: 50 }, () => 'z'.repeat(5000)))).message,
    '50 250000',
  );
});

void t.test('hidden headers and trailers', async (t) => {
  const { client } = await serve(
    t,
    `server { ${listen}
       location / { grpc_pass 127.0.0.1:${one.port}; grpc_hide_header x-head; grpc_hide_header x-trailer; } }`,
  );
  const answer = await client.unary('a');
  t.equal(answer.message, 'one:a');
  t.strictSame(answer.head.get('x-head'), []);
  t.strictSame(answer.trailer.get('x-trailer'), []);
});

/** Answers in HTTP/2 what the path says: a status, and perhaps how long it takes. */
async function plainBackend(t: Test): Promise<{ port: number; sessions(): number }> {
  let sessions = 0;
  const open = new Set<http2.ServerHttp2Session>();
  const back = http2.createServer();
  back.on('session', (session) => {
    ++sessions;
    open.add(session);
    session.on('error', () => undefined);
  });
  back.on('stream', (stream, fields) => {
    const status = Number(/\/(\d{3})/.exec(String(fields[':path']))?.[1] ?? 200);
    let body = '';
    stream.on('error', () => undefined);
    stream.on('data', (part: Buffer) => (body += part.toString('latin1')));
    stream.on('end', () => {
      stream.respond({
        ':status': status,
        date: 'of the server',
        server: 'theirs',
        'x-host': String(fields[':authority']),
        'x-te': String(fields['te']),
        'x-length': String(fields['content-length']),
        ...(status === 203 ? { 'x-accel-redirect': '/inside' } : {}),
      });
      stream.end(`${String(fields[':method'])} ${String(fields[':path'])} ${body}`);
    });
  });
  await new Promise<void>((done) => back.listen(0, '127.0.0.1', done));
  t.teardown(() => {
    for (const session of open) session.destroy();
    back.close();
  });
  return { port: (back.address() as net.AddressInfo).port, sessions: () => sessions };
}

for (const kind of ['moonphase', 'nginx'] as const) {
  void t.test(`what else there is (${kind})`, { skip: kind === 'nginx' && nginx }, async (t) => {
    const a = await plainBackend(t);
    const server = await Server.start({
      kind,
      http: `
        upstream back { server 127.0.0.1:${a.port}; keepalive 2; }
        upstream two { server 127.0.0.1:${a.port}; server 127.0.0.1:${a.port}; }
        log_format up '$upstream_status'; access_log logs/up.log up;
        server { listen 127.0.0.1:$port;
          grpc_socket_keepalive on; grpc_bind 127.0.0.1;
          location / { grpc_pass grpc://back; }
          location /h/ { grpc_pass grpc://127.0.0.1:${a.port}; grpc_pass_header Server; grpc_hide_header X-Te;
            grpc_set_header TE trailers; grpc_set_header Host me.test; grpc_ignore_headers X-Accel-Redirect; }
          location /i/ { grpc_pass grpc://back; grpc_intercept_errors on; error_page 404 =402 /inside; }
          location /n/ { grpc_pass grpc://two; grpc_next_upstream http_503 non_idempotent; }
          location /re/ { rewrite ^/re/(.*) "/a b/$1" break; grpc_pass grpc://back; }
          location /cap { content_by_lua_block {
            local a = ngx.location.capture("/201?x", { method = ngx.HTTP_POST, body = "of Lua" })
            ngx.print(a.status, " ", a.body)
          } }
          location /inside { return 200 "inside $request_method"; } }`,
    });
    t.teardown(() => server.stop());
    const get = (path: string, options = {}) => request(server.port, path, options);
    const first = await get('/200?a=b');
    t.equal(first.body, 'GET /200?a=b ');
    t.equal(first.header('x-host'), 'back');
    t.equal(first.header('x-te'), 'undefined');
    t.not(first.header('server'), 'theirs');
    t.not(first.header('date'), 'of the server');
    const posted = await get('/201', { method: 'POST', body: 'text', headers: { TE: 'trailers' } });
    t.equal(posted.status, 201);
    t.equal(posted.body, 'POST /201 text');
    t.equal(posted.header('x-te'), 'trailers');
    t.equal(posted.header('x-length'), '4');
    t.equal(posted.header('x-host'), 'back');
    t.equal((await get('/re/x')).body, 'GET /a%20b/x ');
    t.equal((await get('/cap')).body, '201 POST /201?x of Lua');
    t.equal((await get('/203')).body, 'inside GET');
    t.equal(a.sessions(), 1, 'one connection did');
    const shown = await get('/h/203');
    t.equal(shown.status, 203);
    t.equal(shown.header('server'), 'theirs');
    t.equal(shown.header('x-te'), undefined);
    t.equal(shown.header('x-host'), 'undefined');
    t.equal((await get('/404')).body, 'GET /404 ');
    const instead = await get('/i/404');
    t.strictSame([instead.status, instead.body], [402, 'inside GET']);
    t.equal((await get('/n/503', { method: 'POST', body: 'again' })).body, 'POST /n/503 again');
    t.equal((await get('/204')).status, 204);
    t.equal((await get('/200', { method: 'HEAD' })).status, 200);
    const log = () => fs.readFileSync(path.join(server.prefix, 'logs/up.log'), 'latin1');
    for (let i = 0; i < 50 && log().split('\n').length < 13; i++) await sleep(20);
    t.match(log(), '\n503, 503\n');
  });
}

void t.test('the client goes, the server goes, a reload comes', async (t) => {
  const back: Backend = await startBackend('mortal');
  const { client, server } = await serve(
    t,
    `upstream back { server 127.0.0.1:${back.port}; keepalive 4; }
     server { ${listen} location / { grpc_pass grpc://back; } }`,
    { workers: 1 },
  );
  // the client cancels in the middle
  const gone = client.chat();
  gone.on('error', () => undefined);
  gone.write('a');
  t.equal(await new Promise((done) => gone.once('data', done)), 'mortal:a');
  gone.cancel();
  // a reload in mid-stream: the old worker goes on with it
  const chat = client.chat();
  const all = collect(chat);
  chat.write('before');
  t.equal(await new Promise((done) => chat.once('data', done)), 'mortal:before');
  server.signal('SIGHUP');
  await sleep(800);
  chat.write('after');
  t.equal(await new Promise((done) => chat.once('data', done)), 'mortal:after');
  chat.end();
  t.equal((await all).code, 0);
  const fresh = new Client(server.port);
  t.teardown(() => {
    fresh.close();
  });
  t.equal((await fresh.unary('new')).message, 'mortal:new');
  // the server goes in mid-stream
  const cut = fresh.chat();
  const cutAll = collect(cut);
  cut.write('x');
  t.equal(await new Promise((done) => cut.once('data', done)), 'mortal:x');
  back.stop();
  t.not((await cutAll).code, 0);
  t.not((await fresh.unary('new')).code, 0);
});

void t.test('calls that are given up anywhere', async (t) => {
  const back = await startBackend('crowd');
  t.teardown(() => {
    back.stop();
  });
  const { client, server } = await serve(
    t,
    `upstream back { server 127.0.0.1:${back.port}; keepalive 8; }
     server { ${listen} location / { grpc_pass grpc://back; } }`,
  );
  const rounds = Array.from({ length: 120 }, async (_, i) => {
    await sleep((i * 7) % 400);
    const call =
      i % 3 === 0 ? client.chat() : i % 3 === 1 ? client.download('200 20000') : undefined;
    if (call === undefined) {
      await client.unary(
        i % 2 ? 'sleep' : 'u'.repeat(200_000),
        {},
        { deadline: Date.now() + (i % 40) },
      );
      return;
    }
    const over = collect(call);
    if (i % 3 === 0) (call as ReturnType<Client['chat']>).write('c'.repeat(100_000));
    await sleep((i * 13) % 60);
    call.cancel();
    await over;
  });
  await Promise.all(rounds);
  t.equal((await client.unary('still there')).message, 'crowd:still there');
  t.notMatch(server.errorLog(), /\[(crit|alert|emerg)\]/);
});
