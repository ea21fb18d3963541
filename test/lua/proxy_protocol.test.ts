// The PROXY protocol's header in front of a connection, versions 1 and 2; the same bytes for nginx and for Moonphase.
import fs from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import t from 'tap';
import { parseBlocks } from '../helpers/blocks.js';
import { exchange } from '../helpers/http.js';
import { Server, type Kind } from '../helpers/server.js';

const noNginx = !fs.existsSync('/usr/lib/nginx/modules/ngx_http_lua_module.so');

const location = String.raw`
  location /tlv { return 200 "$proxy_protocol_tlv_authority $proxy_protocol_tlv_0x02 $proxy_protocol_tlv_ssl_cn $proxy_protocol_tlv_ssl_verify|$proxy_protocol_tlv_alpn"; }`;

// Debian's nginx does not know the TLVs yet.
const http = (kind: Kind): string => `
server {
  listen 127.0.0.1:$port proxy_protocol;
  set_real_ip_from 127.0.0.1;
  real_ip_header proxy_protocol;
  location / {
    return 200 "$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port $remote_addr $realip_remote_addr";
  }
  ${kind === 'nginx' ? '' : location}
}`;

const get = (uri = '/'): string => `GET ${uri} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;

const tlv = (type: number, value: string): string =>
  String.fromCharCode(type, value.length >> 8, value.length & 255) + value;

function v2(body: string, command = 0x21, family = 0x11): string {
  const length = String.fromCharCode(body.length >> 8, body.length & 255);
  return '\r\n\r\n\0\r\nQUIT\n' + String.fromCharCode(command, family) + length + body;
}

const v4 = '\x0a\x01\x02\x03\x7f\0\0\x01\x1f\x90\0\x50';
const v6 = `\x20\x01\x0d\xb8${'\0'.repeat(11)}\x07${'\0'.repeat(15)}\x01\x1f\x90\0\x50`;
const ssl = `\x01\0\0\0\x05${tlv(0x22, 'client.test')}`;

const cases: Readonly<Record<string, string>> = {
  'version 1': `PROXY TCP4 10.1.2.3 127.0.0.1 1234 80\r\n${get()}`,
  'version 1, IPv6': `PROXY TCP6 2001:db8::7 ::1 1234 80\r\n${get()}`,
  unknown: `PROXY UNKNOWN whatever\r\n${get()}`,
  'no port': `PROXY TCP4 10.1.2.3 127.0.0.1\r\n${get()}`,
  'a port too large': `PROXY TCP4 10.1.2.3 127.0.0.1 99999 80\r\n${get()}`,
  'no header': get(),
  'version 2': v2(v4) + get(),
  'version 2, IPv6': v2(v6, 0x21, 0x21) + get(),
  'version 2, local': v2('', 0x20, 0) + get(),
  'version 2, unix': v2('x'.repeat(216), 0x21, 0x31) + get(),
  'version 2, too short': v2('\x0a\x01', 0x21, 0x11) + get(),
  'version 3': v2(v4, 0x31) + get(),
  'with what follows the addresses': v2(v4 + tlv(2, 'a.test') + tlv(0x20, ssl)) + get('/tlv'),
  'broken behind the addresses': `${v2(`${v4}\x02\0\x09a`)}${get('/tlv')}`,
};

async function ask(kind: Kind): Promise<{ answers: string[]; log: string }> {
  const server = await Server.start({ kind, http: http(kind) });
  const answers: string[] = [];
  for (const [name, bytes] of Object.entries(cases)) {
    const text = await exchange(server.port, bytes, 1000);
    const [head = '', body = ''] = text.split('\r\n\r\n');
    answers.push(`${name}: ${head.split('\r\n')[0]} ${body}`);
  }
  const log = server.errorLog();
  await server.stop();
  return { answers, log };
}

void t.test('each header', async (t) => {
  const { answers, log } = await ask('moonphase');
  t.match(answers[0], '200 OK 10.1.2.3:1234 127.0.0.1:80 10.1.2.3 127.0.0.1');
  t.match(log, 'broken header: "GET / HTTP/1.1" while reading PROXY protocol, client: 127.0.0.1');
  t.notMatch(log, /\[alert\]/);
  if (noNginx) return;
  const theirs = await ask('nginx');
  const comparable = (list: string[]): string[] =>
    list.filter((line) => !line.includes('addresses'));
  t.same(comparable(answers), comparable(theirs.answers));
});

void t.test('what follows the addresses', async (t) => {
  const { answers } = await ask('moonphase');
  t.match(
    answers.find((a) => a.startsWith('with')),
    'a.test a.test client.test 5|',
  );
  t.match(
    answers.find((a) => a.startsWith('broken')),
    '200 OK',
  );
});

void t.test('in front of TLS', async (t) => {
  const { files } = parseBlocks(fs.readFileSync(new URL('tls.blocks', import.meta.url), 'latin1'));
  const server = await Server.start({
    files,
    http: `server {
      listen 127.0.0.1:$port ssl proxy_protocol;
      ssl_certificate $prefix/tls/test.crt; ssl_certificate_key $prefix/tls/test.key;
      location / { return 200 "$scheme $proxy_protocol_addr"; }
    }`,
  });
  t.teardown(() => server.stop());
  const socket = net.connect(server.port, '127.0.0.1');
  socket.write('PROXY TCP4 10.1.2.3 127.0.0.1 1234 80\r\n');
  const secure = tls.connect({ socket, rejectUnauthorized: false });
  secure.write(get());
  let text = '';
  for await (const part of secure) text += String(part);
  t.match(text, 'https 10.1.2.3');
});

void t.test('in front of HTTP/2', async (t) => {
  const server = await Server.start({
    http: `server {
      listen 127.0.0.1:$port proxy_protocol;
      http2 on;
      set_real_ip_from 127.0.0.1;
      real_ip_header proxy_protocol;
      location / { return 200 "$server_protocol $proxy_protocol_addr $remote_addr $realip_remote_addr"; }
    }`,
  });
  t.teardown(() => server.stop());
  const socket = net.connect(server.port, '127.0.0.1');
  socket.write('PROXY TCP4 10.1.2.3 127.0.0.1 1234 80\r\n');
  const session = http2.connect('http://a', { createConnection: () => socket });
  t.teardown(() => session.destroy());
  for (const again of ['once', 'twice']) {
    const stream = session.request({ ':path': '/' });
    let text = '';
    for await (const part of stream) text += String(part);
    t.equal(text, 'HTTP/2.0 10.1.2.3 10.1.2.3 127.0.0.1', again);
  }
});
