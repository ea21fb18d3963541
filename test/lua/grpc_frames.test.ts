// grpc_pass to servers that do what no library would: frames by hand. What nginx says to it, we say.
import fs from 'node:fs';
import net from 'node:net';
import t, { type Test } from 'tap';
import {
  ACK,
  END_HEADERS,
  END_STREAM,
  PADDED,
  RawPeer,
  TYPE,
  frame,
  headers,
  hpack,
  setting,
  u32,
  type Fields,
} from '../helpers/http2.js';
import { request } from '../helpers/http.js';
import { type Kind, Server, sleep } from '../helpers/server.js';

const OK: Fields = [
  [':status', '200'],
  ['content-type', 'text/x'],
];
const settings = frame(TYPE.settings, 0, 0);
const head = (fields: Fields = OK, flags = 0): Buffer => headers(1, fields, flags);
const data = (text: string, flags = END_STREAM): Buffer => frame(TYPE.data, flags, 1, text);
const answer = Buffer.concat([head(), data('fine')]);
const goaway = (last: number, code: number): Buffer =>
  frame(TYPE.goaway, 0, 0, Buffer.concat([u32(last), u32(code)]));
const trailers = (flags = END_STREAM): Buffer => headers(1, [['grpc-status', '0']], flags);

interface Case {
  readonly name: string;
  /** What comes when a request's head has come, or what is done. */
  readonly send: Buffer | readonly Buffer[] | ((peer: RawPeer) => Promise<void>);
  /** What the client gets: a status and a body, or `cut`. */
  readonly gets: string;
  readonly logs?: string;
  /** Newer than Debian's nginx, or stricter than any. */
  readonly ours?: boolean;
  readonly body?: string;
  /** Closes the connection then. */
  readonly close?: boolean;
}

const cases: readonly Case[] = [
  { name: 'an answer', send: answer, gets: '200 fine' },
  { name: 'one with trailers', send: [head(), data('x', 0), trailers()], gets: '200 x' },
  {
    name: 'byte by byte',
    send: async (peer) => {
      for (const byte of Buffer.concat([settings, answer])) {
        peer.send(Buffer.from([byte]));
        await sleep(2);
      }
    },
    gets: '200 fine',
  },
  {
    name: 'padding, continuations, priorities, unknown frames',
    send: [
      frame(TYPE.priority, 0, 1, '\0\0\0\0\x10'),
      frame(0x42, 0, 0, 'whatever'),
      frame(
        TYPE.headers,
        PADDED,
        1,
        Buffer.concat([Buffer.from([3]), hpack([[':status', '200']]), Buffer.alloc(3)]),
      ),
      frame(TYPE.continuation, 0, 1, hpack([['x-a', 'b']])),
      frame(TYPE.continuation, END_HEADERS, 1, hpack([['content-type', 'text/x']])),
      frame(
        TYPE.data,
        PADDED,
        1,
        Buffer.concat([Buffer.from([5]), Buffer.from('padded'), Buffer.alloc(5)]),
      ),
      frame(TYPE.window, 0, 0, u32(1000)),
      data('!'),
    ],
    gets: '200 padded!',
  },
  { name: 'no body', send: head(OK, END_STREAM), gets: '200 ' },
  { name: '204', send: head([[':status', '204']], END_STREAM), gets: '204 ' },
  {
    name: 'reset without an error behind the answer',
    send: [answer, frame(TYPE.rst, 0, 1, u32(0))],
    gets: '200 fine',
  },
  { name: 'goaway that lets the request live', send: [goaway(1, 0), answer], gets: '200 fine' },
  {
    name: 'a ping that must be answered',
    send: async (peer) => {
      peer.send(settings, frame(TYPE.ping, 0, 0, '12345678'));
      const pong = await peer.until(() =>
        peer.frames.find((f) => f.type === TYPE.ping && f.flags === ACK),
      );
      if (pong?.payload.toString() === '12345678') peer.send(answer);
    },
    gets: '200 fine',
  },
  {
    name: 'a body that waits for windows',
    body: 'x'.repeat(70_000),
    // 65535 bytes may come at first, then as many as are asked for: of the stream and of the connection
    send: async (peer) => {
      peer.send(settings);
      const sizes = [];
      for (const all of [65_535, 65_536, 65_636, 70_000]) {
        await peer.until(() => (peer.body(1).length >= all ? true : undefined));
        await sleep(20);
        sizes.push(peer.body(1).length);
        const more = u32(all === 65_535 ? 1 : all === 65_536 ? 100 : 10_000);
        peer.send(frame(TYPE.window, 0, 0, more), frame(TYPE.window, 0, 1, more));
      }
      peer.send(head(), data(sizes.join(' ')));
    },
    gets: '200 65535 65536 65636 70000',
  },
  {
    name: '103, then the answer',
    ours: true,
    send: [
      headers(
        1,
        [
          [':status', '103'],
          ['link', '</x>'],
        ],
        0,
      ),
      answer,
    ],
    gets: '200 fine',
  },

  {
    name: 'data before the head',
    send: data('x'),
    gets: '502',
    logs: 'upstream sent unexpected http2 frame: 0',
  },
  {
    name: 'a continuation of nothing',
    send: frame(TYPE.continuation, 0, 1),
    gets: '502',
    logs: 'upstream sent unexpected http2 frame: 9',
  },
  {
    name: 'a frame inside a head',
    send: [frame(TYPE.headers, 0, 1, hpack(OK)), frame(TYPE.ping, 0, 0, '12345678')],
    gets: '502',
    logs: 'upstream sent unexpected http2 frame: 6',
  },
  {
    name: 'another stream',
    send: headers(3, OK, 0),
    gets: '502',
    logs: 'upstream sent frame for unknown stream 3',
  },
  {
    name: 'data of another stream',
    send: [head(), frame(TYPE.data, 0, 3, 'x')],
    gets: 'cut',
    logs: 'upstream sent data frame for unknown stream 3',
  },
  {
    name: 'a reset',
    send: frame(TYPE.rst, 0, 1, u32(7)),
    gets: '502',
    logs: 'upstream rejected request with error 7',
  },
  {
    name: 'a reset in the body',
    send: [head(), data('x', 0), frame(TYPE.rst, 0, 1, u32(0))],
    gets: 'cut',
    logs: 'upstream rejected request with error 0',
  },
  { name: 'goaway', send: goaway(0, 2), gets: '502', logs: 'upstream sent goaway with error 2' },
  {
    name: 'a promise',
    send: frame(TYPE.push, END_HEADERS, 1, u32(2)),
    gets: '502',
    logs: 'upstream sent unexpected push promise frame',
  },
  {
    name: 'a large frame',
    send: frame(0x42, 0, 0, 'x'.repeat(20_000)),
    gets: '502',
    logs: 'upstream sent too large http2 frame: 20000',
  },
  {
    name: 'no status',
    send: head([['x-a', 'b']]),
    gets: '502',
    logs: 'upstream sent no :status header',
  },
  {
    name: 'two statuses',
    send: head([
      [':status', '200'],
      [':status', '200'],
    ]),
    gets: '502',
    logs: 'upstream sent duplicate :status header',
  },
  {
    name: 'a short status',
    send: head([[':status', '20']]),
    gets: '502',
    logs: 'upstream sent invalid :status "20"',
  },
  {
    name: 'a status of letters',
    send: head([[':status', 'abc']]),
    gets: '502',
    logs: 'upstream sent invalid :status "abc"',
  },
  {
    name: 'status 101',
    send: head([[':status', '101']]),
    gets: '502',
    logs: 'upstream sent unexpected :status "101"',
  },
  {
    name: 'another pseudo header',
    send: head([[':path', '/']]),
    gets: '502',
    logs: 'upstream sent invalid header ":path: /"',
  },
  {
    name: 'a name in upper case',
    send: head([
      [':status', '200'],
      ['X-A', 'b'],
    ]),
    gets: '502',
    logs: 'upstream sent invalid header: "X-A: b"',
  },
  {
    name: 'a value of two lines',
    send: head([
      [':status', '200'],
      ['x-a', 'b\nc'],
    ]),
    gets: '502',
    logs: 'upstream sent invalid header: "x-a: b',
  },
  {
    name: 'a large head',
    send: head([
      [':status', '200'],
      ['x-a', 'x'.repeat(6000)],
    ]),
    gets: '502',
    logs: 'upstream sent too big header',
  },
  {
    name: 'an index that is not there',
    send: frame(TYPE.headers, END_HEADERS, 1, Buffer.from([0xff, 0x01])),
    gets: '502',
    logs: 'upstream sent invalid header',
  },
  {
    name: 'a trailer that ends nothing',
    send: [head(), data('x', 0), trailers(0)],
    gets: 'cut',
    logs: 'upstream sent trailer without end stream flag',
  },
  {
    name: 'a pseudo header as trailer',
    send: [head(), data('x', 0), headers(1, [[':status', '200']])],
    gets: 'cut',
    logs: 'upstream sent invalid trailer ":status: 200"',
  },
  {
    name: 'frames after the end',
    send: [head(), data('x'), data('y')],
    gets: 'cut',
    logs: 'upstream sent frame for closed stream 1',
  },
  {
    name: 'less than the length',
    send: [head([...OK, ['content-length', '5']]), data('abc')],
    gets: 'cut',
    logs: 'upstream prematurely closed stream',
  },
  {
    name: 'more than the length',
    send: [head([...OK, ['content-length', '2']]), data('abc')],
    gets: 'cut',
    logs: 'upstream sent response body larger than indicated content length',
  },
  {
    name: 'an end in the head',
    send: Buffer.alloc(0),
    close: true,
    gets: '502',
    logs: 'upstream prematurely closed connection',
  },
  {
    name: 'an end in the body',
    send: [head(), data('x', 0)],
    close: true,
    gets: '200 x cut',
    logs: 'upstream prematurely closed connection',
  },
  {
    name: 'an ack of a ping',
    send: frame(TYPE.ping, ACK, 0, '12345678'),
    gets: '502',
    logs: 'upstream sent ping frame with ack flag',
  },
  {
    name: 'a short ping',
    send: frame(TYPE.ping, 0, 0, '1234'),
    gets: '502',
    logs: 'upstream sent ping frame with invalid length: 4',
  },
  {
    name: 'a ping of a stream',
    send: frame(TYPE.ping, 0, 1, '12345678'),
    gets: '502',
    logs: 'upstream sent ping frame with non-zero stream id: 1',
  },
  {
    name: 'odd settings',
    send: frame(TYPE.settings, 0, 0, '1234'),
    gets: '502',
    logs: 'upstream sent settings frame with invalid length: 4',
  },
  {
    name: 'settings of a stream',
    send: frame(TYPE.settings, 0, 1),
    gets: '502',
    logs: 'upstream sent settings frame with non-zero stream id: 1',
  },
  {
    name: 'an ack that says something',
    send: frame(TYPE.settings, ACK, 0, '123456'),
    gets: '502',
    logs: 'upstream sent settings frame with ack flag and non-zero length: 6',
  },
  {
    name: 'a window that is too large',
    send: frame(TYPE.settings, 0, 0, setting(4, 0x80000000)),
    gets: '502',
    logs: 'upstream sent settings frame with too large initial window size: 2147483648',
  },
  {
    name: 'an update that is too large',
    send: frame(TYPE.window, 0, 1, u32(0x7fffffff)),
    gets: '502',
    logs: 'upstream sent too large window update',
  },
  {
    name: 'a short update',
    send: frame(TYPE.window, 0, 0, '12'),
    gets: '502',
    logs: 'upstream sent window update frame with invalid length: 2',
  },
  {
    name: 'a short reset',
    send: frame(TYPE.rst, 0, 1, '12'),
    gets: '502',
    logs: 'upstream sent rst stream frame with invalid length: 2',
  },
  {
    name: 'a short goaway',
    send: frame(TYPE.goaway, 0, 0, '12'),
    gets: '502',
    logs: 'upstream sent goaway frame with invalid length: 2',
  },
  {
    name: 'a head that is too short for its flags',
    send: frame(TYPE.headers, END_HEADERS | PADDED, 1),
    gets: '502',
    logs: 'upstream sent headers frame with invalid length: 0',
  },
  {
    name: 'a window that does not open',
    body: 'x'.repeat(70_000),
    send: settings,
    gets: '504',
    logs: 'upstream timed out (110: Connection timed out) while sending request to upstream',
  },
  {
    name: 'silence',
    send: Buffer.alloc(0),
    gets: '504',
    logs: 'upstream timed out (110: Connection timed out) while reading response header from upstream',
  },
  {
    name: 'silence in the body',
    send: [head(), data('x', 0)],
    gets: '200 x cut',
    logs: 'upstream timed out (110: Connection timed out) while reading upstream',
  },
];

const sockets = new Set<net.Socket>();
/** Which case a connection is for says its request's path. */
const backend = await new Promise<net.Server>((done) => {
  const server = net.createServer((socket) => {
    sockets.add(socket);
    const peer = RawPeer.accept(socket);
    void (async () => {
      const first = await peer.until(() => peer.find(TYPE.headers), 10_000);
      if (!first) return;
      const text = first.payload.toString('latin1');
      const one = cases[Number(current)];
      if (!one || !text) return;
      if (typeof one.send === 'function') {
        await one.send(peer);
      } else {
        peer.send(settings, ...(Buffer.isBuffer(one.send) ? [one.send] : one.send));
      }
      if (one.close !== true) return;
      await sleep(50);
      socket.end();
    })();
  });
  server.listen(0, '127.0.0.1', () => {
    done(server);
  });
});
let current = 0;
const port = (backend.address() as net.AddressInfo).port;
t.teardown(() => {
  for (const socket of sockets) socket.destroy();
  backend.close();
});

const SLOW = new Set(['silence', 'silence in the body', 'a window that does not open']);

async function run(t: Test, kind: Kind): Promise<Map<string, { gets: string; logs: string }>> {
  const server = await Server.start({
    kind,
    http: `server { listen 127.0.0.1:$port;
      location / { grpc_pass 127.0.0.1:${port}; grpc_read_timeout 300ms; grpc_send_timeout 300ms; } 
      location /slow/ { grpc_pass 127.0.0.1:${port}; grpc_read_timeout 5s; } }`,
  });
  t.teardown(() => server.stop());
  const results = new Map<string, { gets: string; logs: string }>();
  let seen = 0;
  for (const [i, one] of cases.entries()) {
    current = i;
    // a client's body in pieces: its head does not carry the end
    const gets = await request(server.port, SLOW.has(one.name) ? '/' : '/slow/', {
      method: one.body === undefined ? 'GET' : 'POST',
      ...(one.body === undefined ? {} : { body: one.body }),
    }).then(
      ({ status, body, raw, header }) =>
        status >= 500
          ? String(status)
          : `${status} ${body}${header('transfer-encoding') === 'chunked' && !/\r\n0\r\n/.test(raw) ? ' cut' : ''}`,
      () => 'cut',
    );
    if (one.logs !== undefined)
      await server.logged(new RegExp(`^(?:.|\n){${seen}}(?:.|\n)*upstream`));
    await sleep(20);
    const log = server.errorLog();
    const logs = log
      .slice(seen)
      .split('\n')
      .filter((line) => / \[(error|warn)\] /.test(line))
      .map((line) => line.replace(/^.*?\*\d+ /, '').replace(/, client: .*/, ''))
      .join('\n');
    seen = log.length;
    results.set(one.name, { gets, logs });
  }
  return results;
}

const nginx = !fs.existsSync('/usr/sbin/nginx') && 'nginx is not installed';
void t.test('what servers say that they should not', async (t) => {
  const ours = await run(t, 'moonphase');
  const theirs = nginx === false ? await run(t, 'nginx') : undefined;
  for (const one of cases) {
    const got = ours.get(one.name);
    t.equal(got?.gets, one.gets, `${one.name}: what the client gets`);
    if (one.logs === undefined) t.equal(got?.logs, '', `${one.name}: logs nothing`);
    else t.ok(got?.logs.includes(one.logs), `${one.name}: ${one.logs}`, { found: got?.logs });
    if (theirs === undefined || one.ours === true) continue;
    const other = theirs.get(one.name);
    t.equal(got?.gets, other?.gets, `${one.name}: as nginx`);
    // before the last line nginx may say more of what is wrong
    const last = (text = ''): string => text.split('\n').at(-1) ?? '';
    t.equal(last(got?.logs), last(other?.logs), `${one.name}: logs as nginx`);
  }
});
