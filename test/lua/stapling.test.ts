// ssl_stapling from a responder: what Debian's nginx does with the same responder, and what only can be seen here.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { type Kind, Server, freePorts, sleep } from '../helpers/server.js';

function openssl(command: string): void {
  execFileSync('openssl', command.split(' '), { stdio: 'ignore' });
}

const EC = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';

/** An authority with its database, and certificates of it: NAME, with a responder's address in it or without. */
class Authority {
  readonly dir: string;
  private serial = 10;

  constructor(t: Test) {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mp-'));
    t.teardown(() => fs.rmSync(this.dir, { recursive: true }));
    const { dir } = this;
    openssl(`req -x509 ${EC} -days 2 -subj /CN=authority -keyout ${dir}/ca.key -out ${dir}/ca.crt`);
    openssl(
      `req -x509 ${EC} -days 2 -subj /CN=other -keyout ${dir}/other.key -out ${dir}/other.crt`,
    );
    fs.writeFileSync(`${dir}/index`, '');
  }

  /** A certificate, known to the database as valid, revoked, or not at all. */
  issue(name: string, status: 'V' | 'R' | '', responder = ''): void {
    const { dir } = this;
    const serial = String(this.serial++);
    fs.writeFileSync(
      `${dir}/${name}.ext`,
      responder === '' ? '' : `authorityInfoAccess = OCSP;URI:${responder}\n`,
    );
    openssl(`req ${EC} -subj /CN=${name} -keyout ${dir}/${name}.key -out ${dir}/${name}.csr`);
    openssl(
      `x509 -req -in ${dir}/${name}.csr -CA ${dir}/ca.crt -CAkey ${dir}/ca.key -set_serial 0x${serial} -days 2 -extfile ${dir}/${name}.ext -out ${dir}/${name}.crt`,
    );
    if (status === '') return;
    const revoked = status === 'R' ? '260101000000Z' : '';
    fs.appendFileSync(
      `${dir}/index`,
      `${status}\t991231235959Z\t${revoked}\t${serial}\tunknown\t/CN=${name}\n`,
    );
  }

  /** OpenSSL's own responder; `signer`: whose key signs. */
  async responder(t: Test, port: number, signer = 'ca'): Promise<() => Promise<void>> {
    const { dir } = this;
    const child = spawn(
      'openssl',
      `ocsp -port ${port} -index ${dir}/index -CA ${dir}/ca.crt -rsigner ${dir}/${signer}.crt -rkey ${dir}/${signer}.key -nmin 20`.split(
        ' ',
      ),
    );
    const stop = stopper(child);
    t.teardown(stop);
    // a connection without a request would be its last one
    let said = '';
    await new Promise<void>((ready, fail) => {
      const listen = (data: Buffer): void => {
        said += data.toString();
        if (said.includes('waiting for OCSP client connections')) ready();
      };
      child.stdout.on('data', listen);
      child.stderr.on('data', listen);
      child.on('exit', () => fail(new Error(`no responder: ${said}`)));
    });
    return stop;
  }
}

function stopper(child: ChildProcess): () => Promise<void> {
  const gone = new Promise<void>((done) => child.once('exit', () => done()));
  return () => {
    child.kill('SIGKILL');
    return gone;
  };
}

/** A responder that says what it likes, and counts who asks. */
async function actor(
  t: Test,
  play: (socket: net.Socket, request: string) => void,
): Promise<{ port: number; requests: string[] }> {
  const requests: string[] = [];
  const open = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    open.add(socket);
    socket.on('error', () => undefined).on('close', () => open.delete(socket));
    socket.once('data', (data) => {
      requests.push(data.toString('latin1'));
      play(socket, data.toString('latin1'));
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.teardown(() => {
    for (const socket of open) socket.destroy();
    return new Promise((done) => server.close(done));
  });
  return { port: (server.address() as net.AddressInfo).port, requests };
}

/** What a client sees of the staple: "good", "none" … */
async function staple(port: number, more = ''): Promise<string> {
  const { stdout: text } = await promisify(execFile)('sh', [
    '-c',
    `sleep 0.2 | timeout 5 openssl s_client -connect 127.0.0.1:${port} -status ${more} 2>&1 || true`,
  ]);
  if (text.includes('OCSP response: no response sent')) return 'none';
  return /Cert Status: (\w+)/.exec(text)?.[1] ?? `?${text.slice(0, 200)}`;
}

async function until(port: number, wanted: string): Promise<string> {
  let seen = '';
  for (let i = 0; i < 30 && seen !== wanted; i++) seen = await staple(port);
  return seen;
}

const conf = (dir: string, name: string, more: string): string => `
  ssl_stapling on; ssl_trusted_certificate ${dir}/ca.crt;
  server { listen 127.0.0.1:$port ssl; ssl_certificate ${dir}/${name}.crt; ssl_certificate_key ${dir}/${name}.key;
    ${more}
    location / { return 200 "fine\\n"; } }`;

const kinds: readonly Kind[] = ['nginx', 'moonphase'];

for (const kind of kinds) {
  void t.test(`responders, by ${kind}`, async (t) => {
    const ca = new Authority(t);
    const { dir } = ca;
    const [port, gone] = (await freePorts(2)) as [number, number];
    ca.issue('good', 'V', `http://127.0.0.1:${port}`);
    ca.issue('revoked', 'R');
    ca.issue('unknown', '');
    await ca.responder(t, port);
    const ask = (name: string, more: string): Promise<Server> =>
      Server.start({ kind, http: conf(dir, name, more) });
    const lines = (server: Server): string[] =>
      server
        .errorLog()
        .split('\n')
        .filter((line) => / \[(warn|error|crit|alert|emerg)\] /.test(line))
        .map((line) => line.replace(/^.*?\[/, '[').replace(/\] \d+#\d+: /, '] '))
        .map((line) => line.replaceAll(dir, 'DIR').replaceAll(String(port), 'PORT'));

    await t.test('good, by the address in the certificate', async (t) => {
      const server = await ask('good', '');
      t.teardown(() => server.stop());
      t.equal(await staple(server.port), 'none', 'the first client does not wait for it');
      t.equal(await until(server.port, 'good'), 'good');
      t.equal(await staple(server.port), 'good');
      t.same(lines(server), []);
    });

    await t.test('ssl_stapling_verify', async (t) => {
      const server = await ask('good', 'ssl_stapling_verify on;');
      t.teardown(() => server.stop());
      t.equal(await until(server.port, 'good'), 'good');
      t.same(lines(server), []);
    });

    for (const [name, text] of [
      ['revoked', 'certificate status "revoked" in the OCSP response'],
      ['unknown', 'certificate status "unknown" in the OCSP response'],
    ] as const) {
      await t.test(name, async (t) => {
        const server = await ask(name, `ssl_stapling_responder http://127.0.0.1:${port};`);
        t.teardown(() => server.stop());
        t.equal(await staple(server.port), 'none');
        t.ok(await server.logged(text));
        t.equal(await staple(server.port), 'none');
        t.same(lines(server), [
          `[error] ${text} while requesting certificate status, responder: 127.0.0.1, peer: 127.0.0.1:PORT, certificate: "DIR/${name}.crt"`,
        ]);
      });
    }

    await t.test('gone', async (t) => {
      const server = await ask('good', `ssl_stapling_responder http://127.0.0.1:${gone}/;`);
      t.teardown(() => server.stop());
      t.equal(await staple(server.port), 'none');
      t.ok(await server.logged('prematurely closed connection'));
      t.equal(await staple(server.port), 'none');
      const where = `while requesting certificate status, responder: 127.0.0.1, peer: 127.0.0.1:${gone}, certificate: "DIR/good.crt"`;
      t.same(lines(server), [
        `[error] recv() failed (111: Connection refused) ${where}`,
        `[error] OCSP responder prematurely closed connection ${where}`,
      ]);
    });

    await t.test('whose answer nobody believes', async (t) => {
      const [other] = (await freePorts(1)) as [number];
      await ca.responder(t, other, 'other');
      const server = await ask(
        'good',
        `ssl_stapling_verify on; ssl_stapling_responder http://127.0.0.1:${other};`,
      );
      t.teardown(() => server.stop());
      t.equal(await staple(server.port), 'none');
      t.ok(await server.logged('OCSP_basic_verify() failed (SSL: error:'));
      t.equal(await staple(server.port), 'none');
    });

    for (const [what, answer, text] of [
      ['garbage', 'garbage', 'OCSP responder sent invalid response'],
      ['a status that is none', 'HTTP/1.1 2x0 OK\r\n\r\n', 'OCSP responder sent invalid response'],
      [
        'a header that is none',
        'HTTP/1.1 200 OK\r\na b\r\n\r\n',
        'OCSP responder sent invalid response',
      ],
      [
        'half a head',
        'HTTP/1.1 200 OK\r\nA: b\r\n',
        'OCSP responder prematurely closed connection',
      ],
      ['nothing', '', 'OCSP responder prematurely closed connection'],
      [
        'a page',
        'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>',
        'OCSP responder sent invalid "Content-Type" header: "text/html"',
      ],
      [
        'nonsense',
        'HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\n\r\nnonsense',
        'd2i_OCSP_RESPONSE() failed (SSL: error:',
      ],
      [
        'that it is busy',
        'HTTP/1.0 200 OK\r\nContent-type: application/ocsp-response\r\n\r\n\x30\x03\x0a\x01\x03',
        'OCSP response not successful (3: trylater)',
      ],
      [
        'more than fits',
        `HTTP/1.0 200 OK\r\n\r\n${'x'.repeat(40_000)}`,
        'd2i_OCSP_RESPONSE() failed',
      ],
    ] as const) {
      await t.test(`that sends ${what}`, async (t) => {
        const liar = await actor(t, (socket) => socket.end(answer, 'latin1'));
        const server = await ask('good', `ssl_stapling_responder http://127.0.0.1:${liar.port}/a;`);
        t.teardown(() => server.stop());
        t.equal(await staple(server.port), 'none');
        t.ok(await server.logged(text), text);
        t.equal(await staple(server.port), 'none');
        t.equal(liar.requests.length, 1, 'it is left alone for some minutes');
        t.match(
          liar.requests[0],
          /^GET \/a\/[A-Za-z0-9%]+ HTTP\/1\.0\r\nHost: 127\.0\.0\.1\r\n\r\n$/,
        );
        t.match(server.errorLog(), `peer: 127.0.0.1:${liar.port}, certificate: "${dir}/good.crt"`);
        t.notMatch(server.errorLog(), /\[(crit|alert|emerg)\]/);
      });
    }

    await t.test('an error page is nothing to tell of', async (t) => {
      const liar = await actor(t, (socket) => socket.end('HTTP/1.1 503 Busy\r\n\r\n'));
      const server = await ask('good', `ssl_stapling_responder http://127.0.0.1:${liar.port};`);
      t.teardown(() => server.stop());
      t.equal(await staple(server.port), 'none');
      await sleep(100);
      t.equal(await staple(server.port), 'none');
      t.match(liar.requests[0], /^GET \/[A-Za-z0-9%]+ HTTP/);
      t.same(lines(server), []);
    });

    for (const [what, name, more, text] of [
      ['no responder', 'unknown', '', 'no OCSP responder URL in the certificate "DIR/unknown.crt"'],
      [
        'no issuer',
        'good',
        'ssl_trusted_certificate DIR/other.crt;',
        'issuer certificate not found for certificate "DIR/good.crt"',
      ],
      [
        'no HTTP',
        'good',
        'ssl_stapling_responder https://a.test/;',
        'invalid URL prefix in OCSP responder "https://a.test/" in the certificate "DIR/good.crt"',
      ],
    ] as const) {
      await t.test(`${what}: a warning`, async (t) => {
        const server = await ask(name, more.replaceAll('DIR', dir));
        t.teardown(() => server.stop());
        t.equal(await staple(server.port), 'none');
        t.equal(await staple(server.port), 'none');
        // nginx tells of its configuration on standard error, too
        const all = server.output + server.errorLog();
        t.match(all.replaceAll(dir, 'DIR'), `"ssl_stapling" ignored, ${text}`);
      });
    }
  });
}

void t.test('a responder that does not answer holds nobody up', async (t) => {
  const ca = new Authority(t);
  ca.issue('good', 'V');
  const slow = await actor(t, (socket) => socket.write('HTTP/1.1 200 OK\r\n'));
  const options = {
    workers: 1,
    http: conf(ca.dir, 'good', `ssl_stapling_responder http://127.0.0.1:${slow.port};`),
  };
  const server = await Server.start(options);
  const started = Date.now();
  for (let i = 0; i < 5; i++) t.equal(await staple(server.port), 'none');
  t.ok(Date.now() - started < 4000, `five handshakes in ${Date.now() - started} ms`);
  t.equal(slow.requests.length, 1, 'one question at a time');
  // a reload, and the end, let go of it
  server.signal('SIGHUP');
  for (let i = 0; i < 100 && slow.requests.length < 2; i++) {
    await staple(server.port);
    await sleep(20);
  }
  t.equal(slow.requests.length, 2, 'the new worker asks anew');
  const stopping = Date.now();
  t.equal(await server.stop(), 0);
  t.ok(Date.now() - stopping < 3000, 'the process does not wait for it');
  t.notMatch(server.errorLog(), /\[(error|crit|alert|emerg)\]/);
});

void t.test(
  'a responder that keeps the connection, by its name; several certificates',
  async (t) => {
    const ca = new Authority(t);
    const { dir } = ca;
    ca.issue('one', 'V');
    ca.issue('two', 'V');
    const [port] = (await freePorts(1)) as [number];
    await ca.responder(t, port);
    // in front of the real one, with a length and without an end
    const front = await actor(t, (socket, request) => {
      const back = net.connect(port, '127.0.0.1', () => back.write(request));
      back.on('error', () => socket.destroy());
      const parts: Buffer[] = [];
      back.on('data', (data) => parts.push(data));
      back.on('close', () => {
        const all = Buffer.concat(parts);
        const body = all.subarray(all.indexOf('\r\n\r\n') + 4);
        socket.write(
          `HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: ${body.length}\r\n\r\n`,
        );
        socket.write(body.subarray(0, 100));
        setTimeout(() => socket.write(body.subarray(100)), 50);
      });
    });
    const server = await Server.start({
      http: `
      ssl_stapling on; ssl_stapling_verify on; ssl_trusted_certificate ${dir}/ca.crt;
      ssl_stapling_responder http://localhost:${front.port}/;
      server { listen 127.0.0.1:$port ssl; server_name one; ssl_certificate ${dir}/one.crt; ssl_certificate_key ${dir}/one.key; }
      server { listen 127.0.0.1:$port ssl; server_name two; ssl_certificate ${dir}/two.crt; ssl_certificate_key ${dir}/two.key; }`,
    });
    t.teardown(() => server.stop());
    for (const name of ['one', 'two']) {
      let seen = '';
      for (let i = 0; i < 30 && seen !== 'good'; i++)
        seen = await staple(server.port, `-servername ${name}`);
      t.equal(seen, 'good', name);
    }
    t.equal(front.requests.length, 2, 'each certificate was asked for once');
    t.notMatch(server.errorLog(), /\[(error|crit|alert|emerg)\]/);
  },
);

void t.test("Lua's own response comes first", async (t) => {
  const ca = new Authority(t);
  const { dir } = ca;
  ca.issue('good', 'V');
  const [port] = (await freePorts(1)) as [number];
  await ca.responder(t, port);
  openssl(
    `ocsp -index ${dir}/index -rsigner ${dir}/ca.crt -rkey ${dir}/ca.key -CA ${dir}/ca.crt -issuer ${dir}/ca.crt -cert ${dir}/good.crt -ndays 99 -respout ${dir}/own`,
  );
  const server = await Server.start({
    http: `
      ssl_stapling on; ssl_trusted_certificate ${dir}/ca.crt; ssl_stapling_responder http://127.0.0.1:${port};
      server { listen 127.0.0.1:$port ssl; ssl_certificate ${dir}/good.crt; ssl_certificate_key ${dir}/good.key;
        ssl_certificate_by_lua_block {
          if require("ngx.ssl").server_name() == "lua" then
            local file = assert(io.open("${dir}/own", "rb"))
            assert(require("ngx.ocsp").set_ocsp_status_resp(file:read("*a")))
            file:close()
          end
        } }`,
  });
  t.teardown(() => server.stop());
  t.equal(await staple(server.port, '-servername lua'), 'good', 'from the first handshake on');
  t.equal(await until(server.port, 'good'), 'good', 'from the responder');
  t.equal(await staple(server.port, '-servername lua'), 'good');
  t.notMatch(server.errorLog(), /\[(error|crit|alert|emerg)\]/);
});
