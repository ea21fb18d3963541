// A client that stops reading for a while, and an answer that is compressed.
import net from 'node:net';
import zlib from 'node:zlib';
import t from 'tap';
import { Server } from '../helpers/server.js';

void t.test('a compressed file goes on when the client does', async (t) => {
  // hardly compressible: more than the buffers of both sockets and of the filter
  let x = 1;
  const text = Array.from({ length: 600_000 }, () => {
    x = (x * 48271) % 2147483647;
    return x.toString(36);
  }).join('');
  const server = await Server.start({
    http: 'gzip on; server { listen 127.0.0.1:$port; location / { root html; } }',
    files: { 'html/big.html': text },
  });
  t.teardown(() => server.stop());
  const parts: Buffer[] = [];
  await new Promise<void>((done, fail) => {
    const socket = net.connect(server.port, '127.0.0.1');
    socket.write(
      'GET /big.html HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n',
    );
    socket.pause();
    setTimeout(() => socket.resume(), 700);
    socket.setTimeout(10_000, () => fail(new Error('it has stopped')));
    socket.on('data', (data) => parts.push(data));
    socket.on('end', () => done());
    socket.on('error', fail);
  });
  const raw = Buffer.concat(parts);
  const chunks: Buffer[] = [];
  for (let at = raw.indexOf('\r\n\r\n') + 4; ;) {
    const end = raw.indexOf('\r\n', at);
    const size = parseInt(raw.toString('latin1', at, end), 16);
    if (!size) break;
    chunks.push(raw.subarray(end + 2, end + 2 + size));
    at = end + 4 + size;
  }
  t.equal(zlib.gunzipSync(Buffer.concat(chunks)).toString('latin1') === text, true);
});
