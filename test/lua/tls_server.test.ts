// TLS at the door beyond one fixed certificate: certificates by name, early data, sessions that another worker takes up;
// and Lua in the handshake with an upstream.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';
import { certificates, openssl } from '../helpers/certificates.js';
import { Server, sleep } from '../helpers/server.js';

/** What `openssl s_client` prints; `send`: a request in a shell's printf. */
function client(port: number, options: string, send = ''): string {
  const input = send === '' ? 'sleep 0.3' : `printf '${send}'; sleep 0.3`;
  return execFileSync('sh', [
    '-c',
    `(${input}) | timeout 5 openssl s_client -connect 127.0.0.1:${port} ${options} 2>&1 || true`,
  ]).toString('latin1');
}

const GET = 'GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n';

void t.test('ssl_certificate with variables', async (t) => {
  const dir = certificates(t, 'one.test', 'two.test');
  const server = await Server.start({
    http: `
      map $ssl_server_name $pair { two.test two.test; missing.test missing; default one.test; }
      server { listen 127.0.0.1:$port ssl; server_name _;
        ssl_certificate ${dir}/$pair.crt; ssl_certificate_key ${dir}/$pair.key;
        location / { return 200 "$ssl_server_name $pair\\n"; } }`,
  });
  t.teardown(() => server.stop());
  for (const name of ['one.test', 'two.test', 'other.test']) {
    const text = client(server.port, `-servername ${name}`, GET);
    t.match(text, `subject=CN = ${name === 'other.test' ? 'one.test' : name}`, name);
  }
  t.match(client(server.port, '-servername two.test -quiet', GET), 'two.test two.test');
  t.match(client(server.port, '-noservername', GET), 'subject=CN = one.test');
  t.notMatch(client(server.port, '-servername missing.test', GET), 'BEGIN CERTIFICATE');
  t.ok(await server.logged(/\[error\] .*cannot load certificate ".*\/missing\.crt": BIO_new_file/));
  t.ok(await server.logged(/SSL_do_handshake\(\) failed .*cert cb error/));
  // certificates are read anew: a renewed one needs no reload
  fs.copyFileSync(`${dir}/one.test.crt`, `${dir}/two.test.crt`);
  fs.copyFileSync(`${dir}/one.test.key`, `${dir}/two.test.key`);
  t.match(client(server.port, '-servername two.test', GET), 'subject=CN = one.test', 'renewed');
  t.notMatch(server.errorLog(), /\[(alert|crit|emerg)\]/);
});

void t.test('ssl_early_data', async (t) => {
  const dir = certificates(t, 'localhost');
  const server = await Server.start({
    http: `
      server { listen 127.0.0.1:$port ssl; ssl_early_data on;
        ssl_certificate ${dir}/localhost.crt; ssl_certificate_key ${dir}/localhost.key;
        location / { client_body_buffer_size 100k; content_by_lua_block {
          local early = ngx.var.ssl_early_data
          ngx.req.read_body()
          ngx.say("early: ", early, ", body: ", #(ngx.req.get_body_data() or "")) } } }
      server { listen 127.0.0.1:$port1 ssl;
        ssl_certificate ${dir}/localhost.crt; ssl_certificate_key ${dir}/localhost.key;
        location / { return 200 "early: $ssl_early_data\\n"; } }`,
  });
  t.teardown(() => server.stop());
  for (const [port, accepted] of [
    [server.port, true],
    [server.ports[1] as number, false],
  ] as const) {
    const file = `${dir}/session${port}`;
    client(port, `-tls1_3 -ign_eof -sess_out ${file}`, GET);
    fs.writeFileSync(`${dir}/early`, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const text = client(port, `-tls1_3 -ign_eof -sess_in ${file} -early_data ${dir}/early`, GET);
    t.match(text, accepted ? 'Early data was accepted' : /Early data was (rejected|not sent)/);
    if (!accepted) continue;
    // Under a sanitizer the handshake may be over before the request is looked at.
    const early = process.env['MOONPHASE_SANITIZER']
      ? /early: (1|nil), body: 0/
      : 'early: 1, body: 0';
    t.match(text, early, 'the first request came early');
    t.match(text, 'early: nil, body: 0', 'the second one did not');
    // a body that is larger than what may come early
    const head = 'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 10000\r\n\r\n';
    fs.writeFileSync(`${dir}/early`, head + 'x'.repeat(8000));
    client(port, `-tls1_3 -ign_eof -sess_out ${file}`, GET);
    const rest = client(
      port,
      `-tls1_3 -ign_eof -sess_in ${file} -early_data ${dir}/early`,
      'x'.repeat(2000),
    );
    // Whoever comes late finds the handshake over, here as in nginx.
    t.match(rest, /early: (1|nil), body: 10000/, 'a body that goes on after the handshake');
  }
  t.notMatch(server.errorLog(), /\[(alert|crit|emerg)\]/);
});

void t.test('sessions that another worker takes up', async (t) => {
  const dir = certificates(t, 'localhost');
  const server = await Server.start({
    workers: 3,
    http: `
      ssl_certificate ${dir}/localhost.crt; ssl_certificate_key ${dir}/localhost.key;
      server { listen 127.0.0.1:$port ssl reuseport; location / { return 200 "$pid $ssl_session_reused\\n"; } }
      server { listen 127.0.0.1:$port1 ssl reuseport; ssl_session_cache shared:tls:1m; ssl_session_tickets off;
        location / { return 200 "$pid $ssl_session_reused\\n"; } }
      server { listen 127.0.0.1:$port2 ssl reuseport; ssl_session_tickets off;
        location / { return 200 "$pid $ssl_session_reused\\n"; } }`,
  });
  t.teardown(() => server.stop());
  for (const [index, what, reused] of [
    [0, 'tickets', true],
    [1, 'a shared cache', true],
    [2, 'neither', false],
  ] as const) {
    for (const version of ['-tls1_2', '-tls1_3']) {
      const file = `${dir}/session${index}`;
      const port = server.ports[index] as number;
      const first = client(port, `${version} -ign_eof -sess_out ${file}`, GET);
      const workers = new Set([/^(\d+) \.$/m.exec(first)?.[1]]);
      let count = 0;
      for (let i = 0; i < 12; ++i) {
        if (!fs.existsSync(file)) break;
        const keep = version === '-tls1_3' ? `-sess_out ${file}` : '';
        const again = client(port, `${version} -ign_eof -sess_in ${file} ${keep}`, GET);
        workers.add(/^(\d+) [r.]$/m.exec(again)?.[1]);
        if (/^\d+ r$/m.test(again)) ++count;
      }
      if (!reused) t.equal(count, 0, `${what} ${version}`);
      else t.equal(count, 12, `${what} ${version}: with ${workers.size} workers`);
    }
  }
  // over a reload, too
  const file = `${dir}/kept`;
  const port = server.ports[1] as number;
  client(port, `-tls1_2 -ign_eof -sess_out ${file}`, GET);
  server.signal('SIGHUP');
  await sleep(2500);
  t.match(client(port, `-tls1_2 -ign_eof -sess_in ${file}`, GET), /^\d+ r$/m, 'after a reload');
  t.notMatch(server.errorLog(), /\[(alert|crit|emerg)\]/);
});

void t.test('ssl_stapling_file', async (t) => {
  const dir = certificates(t, 'localhost');
  fs.writeFileSync(`${dir}/index`, '');
  openssl(
    `ocsp -index ${dir}/index -rsigner ${dir}/ca.crt -rkey ${dir}/ca.key -CA ${dir}/ca.crt -issuer ${dir}/ca.crt -cert ${dir}/localhost.crt -ndays 2 -respout ${dir}/staple`,
  );
  const conf = (stapling: string): string =>
    `server { listen 127.0.0.1:$port ssl; ssl_certificate ${dir}/localhost.crt; ssl_certificate_key ${dir}/localhost.key; ${stapling} }`;
  const server = await Server.start({
    http: conf(`ssl_stapling on; ssl_stapling_file ${dir}/staple;`),
  });
  t.teardown(() => server.stop());
  t.match(client(server.port, '-status'), 'OCSP Response Status: successful');
  t.notMatch(client(server.port, ''), 'OCSP Response Status');
  await t.rejects(
    Server.start({ http: conf(`ssl_stapling on; ssl_stapling_file ${dir}/ca.crt;`) }),
    { message: /d2i_OCSP_RESPONSE_bio\(".*ca.crt"\) failed/ },
  );
});

void t.test('ssl_session_ticket_key', async (t) => {
  const dir = certificates(t, 'localhost');
  const key = (name: string, byte: number, n: number) =>
    fs.writeFileSync(`${dir}/${name}`, Buffer.alloc(n, byte));
  key('old', 1, 48);
  key('new', 2, 80);
  const server = await Server.start({
    http: `
      ssl_certificate ${dir}/localhost.crt; ssl_certificate_key ${dir}/localhost.key;
      server { listen 127.0.0.1:$port ssl; ssl_session_ticket_key ${dir}/old; location / { return 200 "$ssl_session_reused\\n"; } }
      server { listen 127.0.0.1:$port1 ssl; ssl_session_ticket_key ${dir}/new; ssl_session_ticket_key ${dir}/old;
        location / { return 200 "$ssl_session_reused\\n"; } }
      server { listen 127.0.0.1:$port2 ssl; ssl_session_ticket_key ${dir}/new; location / { return 200 "$ssl_session_reused\\n"; } }`,
  });
  t.teardown(() => server.stop());
  for (const version of ['-tls1_2', '-tls1_3']) {
    client(server.port, `${version} -ign_eof -sess_out ${dir}/s`, GET);
    const asks = (index: number) =>
      client(server.ports[index] as number, `${version} -ign_eof -sess_in ${dir}/s`, GET);
    t.match(asks(0), /^r$/m, `${version}: its own`);
    t.match(asks(1), /^r$/m, `${version}: an older key`);
    t.match(asks(2), /^\.$/m, `${version}: an unknown key`);
  }
});

void t.test('Lua in the handshake with an upstream', async (t) => {
  const dir = certificates(t, 'up.test', 'client.test');
  const files: Record<string, string> = {};
  for (const name of ['client.test.crt', 'client.test.key'])
    files[`conf/${name}`] = fs.readFileSync(`${dir}/${name}`, 'latin1');
  const server = await Server.start({
    files,
    errorLogLevel: 'debug',
    http: `
      server { listen 127.0.0.1:$port1 ssl; ssl_verify_client optional; ssl_client_certificate ${dir}/ca.crt;
        ssl_certificate ${dir}/up.test.crt; ssl_certificate_key ${dir}/up.test.key;
        location / { return 200 "client: $ssl_client_s_dn\\n"; } }
      server { listen 127.0.0.1:$port;
        proxy_ssl_trusted_certificate ${dir}/ca.crt; proxy_ssl_name up.test; proxy_ssl_session_reuse off;
        location = /certificate { rewrite_by_lua_block { ngx.ctx.who = "client.test" }
          proxy_pass https://127.0.0.1:$port1;
          proxy_ssl_certificate_by_lua_block {
            local cert, ssl = require "ngx.ssl.proxysslcert", require "ngx.ssl"
            local function read(name)
              local f = assert(io.open("$prefix/conf/" .. ngx.ctx.who .. name)) local s = f:read("*a") f:close() return s
            end
            ngx.sleep(0.01)
            assert(cert.clear_certs())
            assert(cert.set_cert(assert(ssl.parse_pem_cert(read(".crt")))))
            assert(cert.set_priv_key(assert(ssl.parse_pem_priv_key(read(".key")))))
            ngx.ctx.version = require("ngx.proxyssl").get_tls1_version_str()
          }
          header_filter_by_lua_block { ngx.header.x_version = ngx.ctx.version } }
        location = /der { proxy_pass https://127.0.0.1:$port1;
          proxy_ssl_certificate_by_lua_block {
            local cert, ssl = require "ngx.ssl.proxysslcert", require "ngx.ssl"
            local function read(name)
              local f = assert(io.open("$prefix/conf/client.test" .. name)) local s = f:read("*a") f:close() return s
            end
            assert(cert.set_der_cert(assert(ssl.cert_pem_to_der(read(".crt")))))
            assert(cert.set_der_priv_key(assert(ssl.priv_key_pem_to_der(read(".key")))))
          } }
        location = /verify { proxy_pass https://127.0.0.1:$port1; proxy_ssl_verify on;
          proxy_ssl_verify_by_lua_block {
            local verify = require "ngx.ssl.proxysslverify"
            ngx.sleep(0.01)
            ngx.log(ngx.WARN, "result ", verify.get_verify_result(), " ", type(verify.get_verify_cert()))
            if ngx.var.arg_refuse then assert(verify.set_verify_result(23)) end
          } }
        location = /skip { proxy_pass https://127.0.0.1:$port1; proxy_ssl_verify on; lua_upstream_skip_openssl_default_verify on;
          proxy_ssl_verify_by_lua_block { assert(require("ngx.ssl.proxysslverify").set_verify_result(0)) } }
        location = /exit { proxy_pass https://127.0.0.1:$port1; proxy_ssl_certificate_by_lua_block { ngx.exit(ngx.ERROR) } }
        location = /error { proxy_pass https://127.0.0.1:$port1; proxy_ssl_certificate_by_lua_block { error("bad") } }
        location = /slow { proxy_connect_timeout 100ms; proxy_pass https://127.0.0.1:$port1;
          proxy_ssl_verify_by_lua_block { ngx.sleep(1) } }
        location = /threads { proxy_pass https://127.0.0.1:$port1; proxy_ssl_certificate_by_lua_block {
          ngx.thread.wait(ngx.thread.spawn(function() ngx.sleep(0.01) end), ngx.thread.spawn(function() ngx.sleep(5) end)) ngx.exit(0) } }
        location = /outside { content_by_lua_block {
          ngx.say(require("ngx.ssl.proxysslcert").clear_certs()) ngx.say(pcall(require("ngx.ssl.proxysslverify").get_verify_result)) } }
      }`,
  });
  t.teardown(() => server.stop());
  const get = async (where: string) => {
    const answer = await fetch(`http://127.0.0.1:${server.port}${where}`);
    return `${answer.status} ${answer.headers.get('x-version') ?? ''} ${await answer.text()}`.trim();
  };
  t.equal(await get('/certificate'), '200 TLSv1.3 client: CN=client.test');
  t.equal(await get('/der'), '200  client: CN=client.test');
  t.equal(await get('/verify'), '200  client:');
  t.ok(await server.logged('result 0 cdata'));
  t.match(await get('/verify?refuse=1'), /^502/);
  t.ok(await server.logged('upstream SSL certificate verify error: (23:certificate revoked)'));
  t.equal(await get('/skip'), '200  client:');
  t.match(await get('/exit'), /^502/);
  t.ok(await server.logged(/SSL_do_handshake\(\) failed .*callback failed/));
  t.match(await get('/error'), /^502/);
  t.ok(await server.logged('handler return value: 500, cert cb exit code: 0'));
  t.match(await get('/slow'), /^504/);
  t.ok(
    await server.logged(
      'upstream timed out (110: Connection timed out) while loading proxy ssl verify by lua',
    ),
  );
  t.ok(await server.logged('proxy_ssl_verify_by_lua: cert verify callback aborted'));
  t.equal(await get('/threads'), '200  client:');
  t.match(await get('/outside'), /nilbad request\nfalse.*API disabled in the current context/);
  // clients that leave meanwhile
  for (let i = 0; i < 20; ++i) {
    const leave = new AbortController();
    setTimeout(() => leave.abort(), i);
    await fetch(`http://127.0.0.1:${server.port}/verify`, { signal: leave.signal })
      .then((r) => r.text())
      .catch(() => undefined);
  }
  t.equal(await get('/verify'), '200  client:');
  t.notMatch(server.errorLog(), /\[(alert|emerg)\]/);
});
