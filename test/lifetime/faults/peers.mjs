// Servers that misbehave, each in one way, on a TCP port and a unix path of its own (UDP: a port).
import dgram from 'node:dgram';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';

const blocks = fs.readFileSync(
  path.join(path.dirname(fileURLToPath(import.meta.url)), '../../lua/tls.blocks'),
  'latin1',
);
/** A file that the test blocks of TLS bring along. */
const file = (name) => blocks.split(`--- file ${name}\n`)[1].split(/^(?:--- |===)/m)[0];
const context = { cert: file('tls/test.crt'), key: file('tls/test.key') };

const later = (fn, ms = 5) => setTimeout(fn, ms).unref();
const reset = (socket) => socket.resetAndDestroy();

function drip(socket, data, done = () => {}) {
  let i = 0;
  const step = () => {
    if (socket.destroyed) return;
    if (i === data.length) return done();
    socket.write(data.subarray(i, ++i), () => setImmediate(step));
  };
  step();
}

// What a TLS server answers to the first message, without its end.
const helloPart = Buffer.from('160303007a02000076', 'hex');

const plain = {
  reset,
  close: (socket) => socket.destroy(),
  part_close: (socket) => socket.end('abc'),
  part_reset: (socket) => socket.write('abc', () => later(() => reset(socket))),
  half: (socket) => socket.end('abc\n'),
  drip: (socket) =>
    drip(socket, Buffer.from('hello world\r\n0123456789body--end--tail'), () => socket.end()),
  silent: () => {},
  stall: (socket) => socket.write('abc'),
  deaf: (socket) => socket.pause(),
  deaf_reset: (socket) => {
    socket.pause();
    later(() => reset(socket), 10);
  },
  reset_soon: (socket) => later(() => reset(socket)),
  close_on_line: (socket) => socket.once('data', () => socket.end('bye\n')),
  stray_later: (socket) =>
    socket.once('data', () => {
      socket.write('bye\n');
      later(() => socket.write('stray\n'), 30);
    }),
  chatty: (socket) => socket.write('abcdef'),
  tls_close: (socket) => socket.once('data', () => socket.end()),
  tls_reset: (socket) => socket.once('data', () => reset(socket)),
  tls_garbage: (socket) => socket.once('data', () => socket.write('HTTP/1.0 400 Bad\r\n\r\n')),
  tls_part_close: (socket) => socket.once('data', () => socket.end(helloPart)),
  tls_part_stall: (socket) => socket.once('data', () => socket.write(helloPart)),
};

// After the handshake; `raw` is the connection below.
const secure = {
  tls_echo: (socket) => socket.pipe(socket),
  tls_silent: () => {},
  tls_notify: (socket) => socket.end('abc'),
  tls_fin: (socket, raw) => socket.write('abc', () => later(() => raw.end())),
  tls_reset_later: (socket, raw) => socket.write('abc', () => later(() => reset(raw))),
  tls_spoilt: (socket, raw) =>
    socket.write('abc', () => later(() => raw.write(Buffer.alloc(64, 0x55)))),
  tls_deaf: (socket, raw) => {
    socket.pause();
    raw.pause();
  },
};

/** Hands a connection to TLS over a pair of pipes, so that `raw` stays ours. */
function handshake(raw, serve) {
  const secured = new tls.TLSSocket(raw, { isServer: true, ...context });
  secured.on('error', () => raw.destroy());
  secured.on('secure', () => serve(secured, raw));
  raw.on('close', () => secured.destroy());
}

// Every byte of a real TLS server, by itself.
function dripTls(target) {
  return (socket) => {
    const inner = net.connect(target);
    const waiting = [];
    let busy = false;
    const next = () => {
      const data = waiting.shift();
      busy = !!data;
      if (data) drip(socket, data, next);
    };
    inner.on('data', (data) => {
      waiting.push(data);
      if (!busy) next();
    });
    socket.on('data', (data) => inner.write(data));
    for (const [one, other] of [
      [socket, inner],
      [inner, socket],
    ])
      one.on('error', () => other.destroy()).on('close', () => other.destroy());
  };
}

function dnsAnswer(query, flags) {
  const answer = Buffer.from(query);
  answer.writeUInt16BE(flags, 2);
  return answer;
}
const datagrams = {
  udp_silent: () => {},
  udp_empty: (reply) => reply(Buffer.alloc(0)),
  udp_long: (reply) => reply(Buffer.from('0123456789')),
  dns_silent: () => {},
  dns_failure: (reply, query) => reply(dnsAnswer(query, 0x8182)),
  dns_garbage: (reply) => reply(Buffer.from('no answer at all')),
};

/** Starts them all; answers `{ at: { [name]: { port, path } }, stop() }`. */
export async function startPeers(dir) {
  const at = {};
  const servers = [];
  const open = new Set();
  const listen = async (name, serve) => {
    const serving = (socket) => {
      open.add(socket);
      socket.on('error', () => socket.destroy()).on('close', () => open.delete(socket));
      socket.setNoDelay?.(true);
      serve(socket);
    };
    const place = { port: 0, path: path.join(dir, `${name}.sock`) };
    for (const where of [{ port: 0, host: '127.0.0.1' }, { path: place.path }]) {
      // What is half closed stays open as long as the client wants it.
      const server = net.createServer({ allowHalfOpen: name === 'half' }, serving);
      await new Promise((done) => server.listen({ backlog: 4096, ...where }, done));
      if ('port' in where) place.port = server.address().port;
      servers.push(server);
    }
    at[name] = place;
  };
  for (const [name, serve] of Object.entries(plain))
    await listen(name, (socket) => {
      serve(socket);
      if (!socket.isPaused()) socket.resume();
    });
  for (const [name, serve] of Object.entries(secure))
    await listen(name, (socket) => handshake(socket, serve));
  await listen('tls_drip', dripTls(at.tls_echo.port));
  for (const [name, serve] of Object.entries(datagrams)) {
    const socket = dgram.createSocket('udp4');
    socket.on('message', (data, from) =>
      serve((answer) => socket.send(answer, from.port, from.address), data),
    );
    await new Promise((done) => socket.bind(0, '127.0.0.1', done));
    at[name] = { port: socket.address().port };
    servers.push(socket);
  }
  // A port that was free a moment ago; a path that is not there.
  for (const name of ['refuse', 'stuck']) {
    await listen(name, () => {});
    for (const server of servers.splice(-2)) await new Promise((done) => server.close(done));
  }
  return {
    at,
    stop() {
      for (const server of servers) server.close();
      for (const socket of open) socket.destroy();
    },
  };
}
